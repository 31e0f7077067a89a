"""What a client that was away missed, told from the read model as the live stream would have told it."""

from collections import deque
from collections.abc import AsyncIterator

import msgspec

from contracts.events.message import MessageSeen, MessageSent
from contracts.notification_kinds import LiveMessage, LiveSeen
from contracts.rpc.vestnik.messaging.v1 import ClientEvent
from contracts.values.timestamps import rfc3339
from services.messaging.queries import MessageQueries, SeenRow, SentRow

# Messages, and bytes of their texts, that are read from the database at once.
_PAGE = 2_000
_PAGE_BYTES = 512 * 1024
# Of a character in UTF-8, at most.
_WIDEST = 4
_ALL = 1 << 62


async def events_since(
    queries: MessageQueries, user_id: str, after: int, limit: int = 0, most_bytes: int = 0
) -> AsyncIterator[ClientEvent]:
    """Every message sent since, and the latest mark of each reader, of the user's open conversations, in order.

    `limit`: no more than so many, the oldest; 0: all. `most_bytes`: none behind the one with which their data has so
    many bytes; 0: no such bound.
    """
    left, room = limit or _ALL, most_bytes or _ALL
    async for event in _all(queries, user_id, after, min(left, _PAGE)):
        yield event
        left -= 1
        room -= len(event.data)
        if not left or room <= 0:
            return


async def _all(queries: MessageQueries, user_id: str, after: int, size: int) -> AsyncIterator[ClientEvent]:
    seen = deque(await queries.seen_since(user_id, after))
    while page := await queries.sent_since(user_id, after, size, _PAGE_BYTES):
        for row in page:
            while seen and seen[0].stream_sequence < row.stream_sequence:
                yield _seen(seen.popleft())
            yield _sent(row)
        after = page[-1].stream_sequence
        if len(page) < size and sum(len(row.text) for row in page) * _WIDEST < _PAGE_BYTES:
            break
    for mark in seen:
        yield _seen(mark)


def _sent(row: SentRow) -> ClientEvent:
    data = LiveMessage(
        row.message_id,
        row.conversation_id,
        row.peer_id,
        row.sequence,
        row.sender_id,
        row.text,
        rfc3339(row.sent_at),
    )
    return ClientEvent(type=MessageSent.TYPE, sequence=row.stream_sequence, data=msgspec.json.encode(data))


def _seen(row: SeenRow) -> ClientEvent:
    data = LiveSeen(row.conversation_id, row.reader_id, row.sequence, rfc3339(row.seen_at))
    return ClientEvent(type=MessageSeen.TYPE, sequence=row.stream_sequence, data=msgspec.json.encode(data))
