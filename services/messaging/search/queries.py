"""Queries of the search for messages: hits in `message_search`, the messages themselves in `conversations`."""

from collections.abc import Collection, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.positions import Position
from contracts.values.field_types import Id, MessageSequence
from contracts.values.ids import pair_id
from projections.engine.read_model import ReadModel
from services.messaging.message_json import MESSAGE_ITEM
from services.messaging.queries import SEEN_AT
from services.messaging.search.terms import LOOKED_UP, Stems, Term, index_query, run_patterns, whole_words
from streams.lru_cache import LruCache

# Newest messages that are compared one by one before the index is asked: the first number, and then up to the second if
# those have so many hits that about twice as many as wanted are to be expected. The index finds the rarer words.
_COMPARED, _COMPARED_IF_FREQUENT = 300, 10_000
_STEMS_KEPT = 16_384
# Letters; too many different words share a shorter stem.
_SHORTEST_STEM = 3
# The newest hits, of which the best are chosen.
_RANKED = 200
_LAST = 2**63 - 1
_MOST_RANK = 2**31 - 1

# Of the best first: how many terms are whole words of the message, or other forms of them.
_RANK = "(SELECT count(*) FROM unnest(%(whole)s::tsquery[]) AS whole WHERE m.words @@ whole)"
_OPEN = "JOIN {members} AS c ON c.user_id = %(user_id)s AND c.conversation_id = m.conversation_id AND c.open"


def _hits(messages: str, condition: str, order: str) -> str:
    """SQL query: those of the messages that the user may read now, newest first, as a JSON array."""
    return f"""
        SELECT json_agg(json_build_array(peer_id, sequence, stream_sequence, rank))::text AS hits, count(*) AS number
        FROM (
            SELECT c.peer_id, m.sequence, m.stream_sequence, {_RANK} AS rank FROM ({messages}) AS m {_OPEN}
            {condition} ORDER BY m.{order} DESC LIMIT %(candidates)s
        ) AS hit
    """  # noqa: S608 - put together from what stands above


def _compared(conditions: Sequence[str], order: str) -> str:
    """SQL query: hits among the newest messages that meet a condition; if too few, also where the older ones begin."""
    # Each in its order, or PostgreSQL would read and sort all of them.
    newest = " UNION ALL ".join(
        f"""
        (SELECT conversation_id, sequence, stream_sequence, words, folded FROM {{message_search}}
         WHERE {condition} AND stream_sequence <= %(first)s ORDER BY {order} DESC LIMIT %(compared)s + 1)
        """  # noqa: S608
        for condition in conditions
    )
    first = f"SELECT * FROM ({newest}) AS m ORDER BY {order} DESC LIMIT %(compared)s"  # noqa: S608
    matches = "WHERE m.words @@ %(query)s::tsquery AND m.folded LIKE ALL (%(patterns)s::text[])"
    return f"""
        SELECT found.hits, earlier.sequence, earlier.stream_sequence
        FROM ({_hits(first, matches, order)}) AS found LEFT JOIN LATERAL (
            SELECT sequence, stream_sequence FROM ({newest}) AS m
            WHERE found.number < %(candidates)s
            ORDER BY {order} DESC OFFSET %(compared)s LIMIT 1
        ) AS earlier ON true
    """  # noqa: S608


OF_ALL = _compared(("sender_id = %(user_id)s", "recipient_id = %(user_id)s"), "stream_sequence")
OF_ONE = _compared(("conversation_id = %(scope)s AND sequence <= %(first_sequence)s",), "sequence")
INDEXED = _hits(
    """
        SELECT conversation_id, sequence, stream_sequence, words FROM {message_search}
        WHERE stream_sequence <= %(first)s
          AND ARRAY[conversation_id, sender_id, recipient_id] @> ARRAY[%(scope)s]::uuid[]
          AND words @@ %(looked_up)s::tsquery
          -- An expression, which the index does not have.
          AND (%(others)s::tsquery IS NULL OR (words || ''::tsvector) @@ %(others)s::tsquery)
          AND folded LIKE ALL (%(patterns)s::text[])
        ORDER BY stream_sequence DESC
        -- First of all, or PostgreSQL may also read all messages of the only conversation out of another index.
        OFFSET 0
    """,
    "",
    "stream_sequence",
)
# The sequences in MESSAGING of messages that a cursor names.
_SEQUENCES = """
SELECT named.number, m.stream_sequence
FROM unnest(%(conversations)s::uuid[], %(sequences)s::bigint[])
    WITH ORDINALITY AS named (conversation_id, sequence, number)
JOIN {message_search} AS m USING (conversation_id, sequence)
WHERE m.stream_sequence IS NOT NULL
"""
# Latin words have English stems, others Russian ones, as in the configuration `russian`.
_STEMS = """
SELECT word, COALESCE(stems[1], '') AS stem FROM (
    SELECT word, CASE WHEN word ~ '^[a-z]' THEN ts_lexize('pg_catalog.english_stem', word)
                      ELSE ts_lexize('pg_catalog.russian_stem', word) END AS stems
    FROM unnest(%(words)s::text[]) AS word
) AS stemmed
"""


class SearchCursor(msgspec.Struct, frozen=True):
    """The last message of a page; of the best first also its rank, and the newest of the messages that were ranked.

    It names messages by their conversations. Their sequences in the stream would show what others write.
    """

    peer_id: Id
    sequence: MessageSequence
    rank: Annotated[int, Meta(ge=0, le=_MOST_RANK)] = 0
    newest_peer_id: Id | None = None
    newest_sequence: MessageSequence | None = None


class Hit(msgspec.Struct, frozen=True, array_like=True):
    """A message that matches, by its conversation."""

    peer_id: str
    sequence: int
    # In MESSAGING.
    stream_sequence: int
    rank: int


_HITS = msgspec.json.Decoder(list[Hit])


class Hits(msgspec.Struct, frozen=True):
    """A page of hits, and the newest of all hits, which a cursor of the best first names."""

    page: list[Hit]
    newest: Hit | None


class FoundRow(msgspec.Struct, frozen=True):
    """A message that was found, as JSON, and its text; `number` is that of its hit, from 1."""

    number: int
    peer_id: str
    text: str
    item: str


class _StemRow(msgspec.Struct, frozen=True):
    word: str
    stem: str


class _IndexedRow(msgspec.Struct, frozen=True):
    """Hits as a JSON array, newest first."""

    hits: str | None

    @property
    def found(self) -> list[Hit]:
        return _HITS.decode(self.hits or "[]")


class _ComparedRow(_IndexedRow, frozen=True):
    """And the newest message that was not compared; None: there is none, or there are as many hits as were wanted."""

    # Of its conversation, and of MESSAGING.
    sequence: int | None
    stream_sequence: int | None

    @property
    def begin(self) -> dict[str, object]:
        """Parameters with which the next query goes on there."""
        return {"first": self.stream_sequence, "first_sequence": self.sequence}


class _HitSequence(msgspec.Struct, frozen=True):
    number: int
    stream_sequence: int


class _Begin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a page begins: at a sequence in MESSAGING, and in a conversation that is searched alone.

    Of the best first: behind the message `last` with this rank.
    """

    first: int = _LAST
    first_sequence: int = _LAST
    last: int = _LAST
    rank: int = _MOST_RANK


class SearchQueries:
    def __init__(self, search: ReadModel, conversations: ReadModel) -> None:
        self._search = search
        self._conversations = conversations
        self._stems: LruCache[str, str] = LruCache(_STEMS_KEPT)

    async def wait_for(self, position: Position) -> None:
        await self._search.wait_for(position)

    async def stems(self, words: Collection[str]) -> Stems:
        """The stem of each word that has one; stop words have none, and words with a very short stem."""
        known = {word: self._stems.get(word) for word in words}
        if unknown := [word for word, stem in known.items() if stem is None]:
            rows, _ = await self._search.select(_StemRow, _STEMS, {"words": unknown})
            for row in rows:
                known[row.word] = row.stem
                self._stems.put(row.word, row.stem)
        return {word: stem for word, stem in known.items() if stem is not None and len(stem) >= _SHORTEST_STEM}

    async def hits(
        self,
        user_id: str,
        peer_id: str | None,
        terms: Sequence[Term],
        stems: Stems,
        *,
        limit: int,
        after: SearchCursor | None,
        best: bool,
    ) -> tuple[Hits, Position]:
        """The user's messages that contain the terms, in conversations that are open to them.

        Newest first; or, of the newest 200, `best` first: those with the most terms as whole words.
        """
        candidates = max(_RANKED, limit) if best else limit
        begin = _Begin() if after is None else await self._begin(user_id, after, best=best)
        params: dict[str, object] = {
            "user_id": user_id,
            "scope": user_id if peer_id is None else pair_id(user_id, peer_id),
            "query": index_query(terms, stems),
            "patterns": run_patterns(terms),
            "whole": whole_words(terms, stems) if best else [],
            "first": begin.first,
            "first_sequence": begin.first_sequence,
        }
        looked_up: dict[str, object] = {
            "looked_up": index_query(terms[:LOOKED_UP], stems),
            "others": index_query(terms[LOOKED_UP:], stems) or None,
        }
        newest, reached = await self._newest_hits(
            OF_ALL if peer_id is None else OF_ONE, params, looked_up, candidates=candidates
        )
        page = newest
        if best:
            left = [hit for hit in newest if (hit.rank, hit.stream_sequence) < (begin.rank, begin.last)]
            page = sorted(left, key=lambda hit: (-hit.rank, -hit.stream_sequence))
        return Hits(page[:limit], newest[0] if newest else None), reached

    async def _newest_hits(
        self, compared: str, params: dict[str, object], looked_up: dict[str, object], *, candidates: int
    ) -> tuple[list[Hit], Position]:
        """The newest hits: of the newest messages, of more of them if there are many hits, then out of the index."""
        frequent = 2 * candidates * _COMPARED // _COMPARED_IF_FREQUENT + 1
        row, reached = await self._compare(compared, {**params, "candidates": candidates, "compared": _COMPARED})
        hits = row.found
        if row.stream_sequence is not None and len(hits) >= frequent:
            wanted = {"candidates": candidates - len(hits), "compared": _COMPARED_IF_FREQUENT - _COMPARED}
            row, _ = await self._compare(compared, {**params, **row.begin, **wanted})
            hits += row.found
        if row.stream_sequence is None:
            return hits, reached
        wanted = {"candidates": candidates - len(hits)}
        rows, _ = await self._search.select(_IndexedRow, INDEXED, {**params, **row.begin, **looked_up, **wanted})
        return hits + rows[0].found, reached

    async def _compare(self, compared: str, params: dict[str, object]) -> tuple[_ComparedRow, Position]:
        rows, position = await self._search.select(_ComparedRow, compared, params)
        return rows[0], position

    async def _begin(self, user_id: str, after: SearchCursor, *, best: bool) -> _Begin:
        """Where a later page begins; the list ends if the cursor's message is in none of the user's conversations.

        The best first are chosen among the same messages as on the first page.
        """
        named = [(after.peer_id, after.sequence)]
        if best and after.newest_peer_id is not None and after.newest_sequence is not None:
            named.append((after.newest_peer_id, after.newest_sequence))
        rows, _ = await self._search.select(
            _HitSequence,
            _SEQUENCES,
            {
                "conversations": [pair_id(user_id, peer_id) for peer_id, _ in named],
                "sequences": [sequence for _, sequence in named],
            },
        )
        sequences = {row.number: row.stream_sequence for row in rows}
        last = sequences.get(1, 0)
        return _Begin(first=sequences.get(2, last - 1), first_sequence=named[-1][1], last=last, rank=after.rank)

    async def messages(self, user_id: str, hits: Sequence[Hit], position: Position) -> tuple[list[FoundRow], Position]:
        """The messages of the hits, in their order, at least as of the position; none of a closed conversation."""
        await self._conversations.wait_for(position)
        return await self._conversations.select(
            FoundRow,
            f"""
            SELECT hit.number, c.peer_id, m.text, {MESSAGE_ITEM} AS item
            FROM unnest(%(peers)s::uuid[], %(sequences)s::bigint[]) WITH ORDINALITY AS hit (peer_id, sequence, number)
            JOIN {{conversations}} AS c ON c.user_id = %(user_id)s AND c.peer_id = hit.peer_id AND c.open
            CROSS JOIN LATERAL (
                SELECT m.*, {SEEN_AT} AS seen_at FROM {{messages}} AS m
                WHERE m.conversation_id = c.conversation_id AND m.sequence = hit.sequence AND m.message_id IS NOT NULL
            ) AS m
            ORDER BY hit.number
            """,  # noqa: S608
            {
                "user_id": user_id,
                "peers": [hit.peer_id for hit in hits],
                "sequences": [hit.sequence for hit in hits],
            },
        )


def cursor_after(hit: Hit, hits: Hits, *, best: bool) -> SearchCursor:
    """The cursor of the page that follows the hit."""
    if not best or hits.newest is None:
        return SearchCursor(hit.peer_id, hit.sequence)
    return SearchCursor(hit.peer_id, hit.sequence, hit.rank, hits.newest.peer_id, hits.newest.sequence)
