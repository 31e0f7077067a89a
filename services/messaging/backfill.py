"""Backfill for reconnecting clients: missed messages and read marks from the read model, as live stream events."""

from collections import deque
from collections.abc import AsyncIterator

import msgspec

from contracts.events.message import MessageSeen, MessageSent
from contracts.notification_kinds import LiveSeen
from contracts.rpc.vestnik.messaging.v1 import ClientEvent
from contracts.values.timestamps import rfc3339
from services.messaging.queries import MessageQueries, SeenRow

# Messages, and bytes of their texts, per database query.
_PAGE = 2_000
_PAGE_BYTES = 512 * 1024
_ALL = 1 << 62


async def backfill(
    queries: MessageQueries, user_id: str, after: int, limit: int = 0, most_bytes: int = 0
) -> AsyncIterator[ClientEvent]:
    """Yields every message after the stream sequence, and each reader's latest mark, of the user's open conversations.

    In stream order. `limit`: maximum number, the oldest first; 0: all. `most_bytes`: ends with the event with which
    the data reaches this size; 0: no bound.
    """
    left, room = limit or _ALL, most_bytes or _ALL
    async for event in _all(queries, user_id, after, min(left, _PAGE)):
        yield event
        left -= 1
        room -= len(event.data)
        if not left or room <= 0:
            return


async def _all(queries: MessageQueries, user_id: str, after: int, size: int) -> AsyncIterator[ClientEvent]:
    seen = deque(await queries.backfill_marks(user_id, after))
    while page := await queries.backfill_messages(user_id, after, size, _PAGE_BYTES):
        for row in page:
            while seen and seen[0].stream_sequence < row.stream_sequence:
                yield _seen(seen.popleft())
            yield ClientEvent(type=MessageSent.TYPE, sequence=row.stream_sequence, data=row.data.encode())
        after = page[-1].stream_sequence
        if len(page) < size and sum(row.text_size for row in page) < _PAGE_BYTES:
            break
    for mark in seen:
        yield _seen(mark)


def _seen(row: SeenRow) -> ClientEvent:
    data = LiveSeen(row.conversation_id, row.reader_id, row.sequence, rfc3339(row.seen_at))
    return ClientEvent(type=MessageSeen.TYPE, sequence=row.stream_sequence, data=msgspec.json.encode(data))
