"""Backfill for reconnecting clients: missed messages, read marks and settings from the read model, as live events."""

from collections import deque
from collections.abc import AsyncIterator

import msgspec

from contracts.events.message import ConversationUpdated, MessageSeen, MessageSent
from contracts.notification_kinds import LiveSeen
from contracts.rpc.vestnik.messaging.v1 import ClientEvent
from contracts.values.timestamps import rfc3339
from services.messaging.queries import MessageQueries, SeenRow, SettingsRow

# Messages, and bytes of their texts, per database query.
_PAGE = 2_000
_PAGE_BYTES = 512 * 1024
_ALL = 1 << 62


async def backfill(
    queries: MessageQueries, user_id: str, after: int, limit: int = 0, most_bytes: int = 0
) -> AsyncIterator[ClientEvent]:
    """Yields the messages after the stream sequence, and the latest marks and settings, of the user's conversations.

    Of open conversations, in stream order. `limit`: maximum number, the oldest first; 0: all. `most_bytes`: ends with
    the event with which the data reaches this size; 0: no bound.
    """
    left, room = limit or _ALL, most_bytes or _ALL
    async for event in _all(queries, user_id, after, min(left, _PAGE)):
        yield event
        left -= 1
        room -= len(event.data)
        if not left or room <= 0:
            return


async def _all(queries: MessageQueries, user_id: str, after: int, size: int) -> AsyncIterator[ClientEvent]:
    seen = [_seen(row) for row in await queries.backfill_marks(user_id, after)]
    latest = deque(
        sorted(
            [*seen, *map(_updated, await queries.backfill_settings(user_id, after))], key=lambda event: event.sequence
        )
    )
    while page := await queries.backfill_messages(user_id, after, size, _PAGE_BYTES):
        for row in page:
            while latest and latest[0].sequence < row.stream_sequence:
                yield latest.popleft()
            yield ClientEvent(type=MessageSent.TYPE, sequence=row.stream_sequence, data=row.data.encode())
        after = page[-1].stream_sequence
        if len(page) < size and sum(row.text_size for row in page) < _PAGE_BYTES:
            break
    for event in latest:
        yield event


def _updated(row: SettingsRow) -> ClientEvent:
    return ClientEvent(type=ConversationUpdated.TYPE, sequence=row.stream_sequence, data=row.data.encode())


def _seen(row: SeenRow) -> ClientEvent:
    data = LiveSeen(row.conversation_id, row.reader_id, row.sequence, rfc3339(row.seen_at))
    return ClientEvent(type=MessageSeen.TYPE, sequence=row.stream_sequence, data=msgspec.json.encode(data))
