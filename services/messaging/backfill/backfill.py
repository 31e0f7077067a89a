"""Backfill for reconnecting clients: what they missed of conversations, from the read model, as live stream events."""

from collections.abc import AsyncGenerator, AsyncIterator

import msgspec

from contracts.events.message import ConversationUpdated, MessageSeen, ReactionChanged
from contracts.messages import LiveReaction
from contracts.notification_kinds import LiveSeen
from contracts.rpc.vestnik.messaging.v1 import ClientEvent
from contracts.values.timestamps import rfc3339
from services.messaging.backfill.queries import BackfillQueries, ReactionRow, SeenRow

# Messages or reactions, and bytes of texts, per database query.
_PAGE = 2_000
_PAGE_BYTES = 512 * 1024
_ALL = 1 << 62


async def backfill(
    queries: BackfillQueries, user_id: str, after: int, limit: int = 0, most_bytes: int = 0
) -> AsyncIterator[ClientEvent]:
    """Yields what happened in the user's open conversations after the stream sequence, in stream order.

    That is every message sent or changed (once for its sending, once for its last edit or its deletion, both as it is
    now), each user's latest reaction to a message, each reader's latest mark, and the user's settings. `limit`: maximum
    number, the oldest first; 0: all. `most_bytes`: ends with the event with which the data reaches this size; 0: no
    bound.
    """
    left, room = limit or _ALL, most_bytes or _ALL
    async for event in _all(queries, user_id, after, min(left, _PAGE)):
        yield event
        left -= 1
        room -= len(event.data)
        if not left or room <= 0:
            return


async def _all(queries: BackfillQueries, user_id: str, after: int, size: int) -> AsyncIterator[ClientEvent]:
    sources = (
        _messages(queries, user_id, after, size),
        _reactions(queries, user_id, after, size),
        _marks(queries, user_id, after),
        _settings(queries, user_id, after),
    )
    heads = [await anext(source, None) for source in sources]
    while waiting := [(event.sequence, turn) for turn, event in enumerate(heads) if event is not None]:
        _, turn = min(waiting)
        event = heads[turn]
        assert event is not None
        yield event
        heads[turn] = await anext(sources[turn], None)


async def _messages(queries: BackfillQueries, user_id: str, after: int, size: int) -> AsyncGenerator[ClientEvent, None]:
    while page := await queries.messages(user_id, after, size, _PAGE_BYTES):
        for row in page:
            yield ClientEvent(type=row.type, sequence=row.stream_sequence, data=row.data.encode())
        after = page[-1].stream_sequence
        if len(page) < size and sum(row.text_size for row in page) < _PAGE_BYTES:
            break


async def _reactions(
    queries: BackfillQueries, user_id: str, after: int, size: int
) -> AsyncGenerator[ClientEvent, None]:
    while page := await queries.reactions(user_id, after, size):
        for row in page:
            yield ClientEvent(type=ReactionChanged.TYPE, sequence=row.stream_sequence, data=_reaction(row))
        after = page[-1].stream_sequence
        if len(page) < size:
            break


async def _marks(queries: BackfillQueries, user_id: str, after: int) -> AsyncGenerator[ClientEvent, None]:
    for row in await queries.marks(user_id, after):
        yield ClientEvent(type=MessageSeen.TYPE, sequence=row.stream_sequence, data=_seen(row))


async def _settings(queries: BackfillQueries, user_id: str, after: int) -> AsyncGenerator[ClientEvent, None]:
    for row in await queries.settings(user_id, after):
        yield ClientEvent(type=ConversationUpdated.TYPE, sequence=row.stream_sequence, data=row.data.encode())


def _reaction(row: ReactionRow) -> bytes:
    reaction = LiveReaction(
        user_id=row.peer_id,
        message_id=row.message_id,
        conversation_id=row.conversation_id,
        sequence=row.sequence,
        sender_id=row.user_id,
        emoji=row.emoji,
    )
    return msgspec.json.encode(reaction)


def _seen(row: SeenRow) -> bytes:
    return msgspec.json.encode(LiveSeen(row.conversation_id, row.reader_id, row.sequence, rfc3339(row.seen_at)))
