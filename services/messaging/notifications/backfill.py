"""Backfill for reconnecting clients: missed notifications from the read model, as live stream events.

Notifications read since are left out, as in the live stream, which decides at delivery whether to push one.
"""

from collections.abc import AsyncIterator

import msgspec
from msgspec import UNSET

from contracts.notification_kinds import (
    NOTIFICATION_CREATED,
    NOTIFICATION_READ,
    LiveNotification,
    LiveNotificationsRead,
)
from contracts.rpc.vestnik.messaging.v1 import ClientEvent
from contracts.values.timestamps import rfc3339
from services.messaging.notifications.queries import NotificationQueries, NotifiedRow

_PAGE = 500
_ALL = 1 << 62


async def backfill_notifications(
    queries: NotificationQueries, user_id: str, stream: str, after: int, limit: int = 0
) -> AsyncIterator[ClientEvent]:
    """Yields every unread notification after the sequence, and what was read, in stream order; `limit` 0: all."""
    left = limit or _ALL
    while page := await queries.backfill(user_id, stream, after, size := min(left, _PAGE)):
        for row in page:
            yield _to_client_event(row)
        after, left = page[-1].stream_sequence, left - len(page)
        if len(page) < size:
            return


def _to_client_event(row: NotifiedRow) -> ClientEvent:
    if row.read_ids is None:
        return ClientEvent(
            type=NOTIFICATION_CREATED, sequence=row.stream_sequence, data=msgspec.json.encode(_created(row))
        )
    people = UNSET if row.from_user_ids is None else tuple(row.from_user_ids)
    read = LiveNotificationsRead(tuple(row.read_ids), row.up_to or UNSET, people)
    return ClientEvent(type=NOTIFICATION_READ, sequence=row.stream_sequence, data=msgspec.json.encode(read))


def _created(row: NotifiedRow) -> LiveNotification:
    assert row.at is not None
    assert row.notification_id is not None
    assert row.kind is not None
    assert row.from_user_id is not None
    return LiveNotification(row.notification_id, row.kind, row.from_user_id, rfc3339(row.at))
