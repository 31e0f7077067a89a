"""What a client that was away was told of meanwhile, as the live stream would have said it.

What has been read since is left out: whether to push a notification is decided when it is delivered.
"""

from collections.abc import AsyncIterator

import msgspec

from contracts.live import NOTIFICATION_CREATED, NOTIFICATION_READ
from contracts.rpc.vestnik.messaging.v1 import ClientEvent
from contracts.times import rfc3339
from services.messaging.notifications.queries import NotificationQueries, NotifiedRow

_PAGE = 500
_ALL = 1 << 62


async def notified(
    queries: NotificationQueries, user_id: str, stream: str, after: int, limit: int = 0
) -> AsyncIterator[ClientEvent]:
    """Every notification since that is unread, and what was read, in the stream's order; all where `limit` is 0."""
    left = limit or _ALL
    while page := await queries.notified_since(user_id, stream, after, size := min(left, _PAGE)):
        for row in page:
            yield _told(row)
        after, left = page[-1].stream_sequence, left - len(page)
        if len(page) < size:
            return


def _told(row: NotifiedRow) -> ClientEvent:
    kind = NOTIFICATION_CREATED if row.read_ids is None else NOTIFICATION_READ
    data = _created(row) if row.read_ids is None else _read(row)
    return ClientEvent(type=kind, sequence=row.stream_sequence, data=msgspec.json.encode(data))


def _read(row: NotifiedRow) -> dict[str, object]:
    data: dict[str, object] = {"notification_ids": row.read_ids}
    return data | {"up_to": row.up_to} if row.up_to else data


def _created(row: NotifiedRow) -> dict[str, object]:
    assert row.at is not None
    return {
        "notification_id": row.notification_id,
        "kind": row.kind,
        "from_user_id": row.from_user_id,
        "at": rfc3339(row.at),
        "read": False,
    }
