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

# Newest messages that are compared one by one before the index is asked: the first number, and the second if the first
# has so many hits that the second contains about twice as many as are wanted. The index finds the rarer words.
_COMPARED, _COMPARED_IF_FREQUENT = 300, 10_000
_STEMS_KEPT = 16_384
# Letters; too many different words share a shorter stem.
_SHORTEST_STEM = 3
# The newest hits, of which the best are chosen.
_RANKED = 200
_LAST = 2**63 - 1
_MOST_RANK = 2**31 - 1

_MATCHES = "m.words @@ %(query)s::tsquery AND m.folded LIKE ALL (%(patterns)s::text[])"
# Of the best first: how many terms are whole words of the message, or other forms of them.
_RANK = "(SELECT count(*) FROM unnest(%(whole)s::tsquery[]) AS whole WHERE m.words @@ whole)"


def _position_of(message: str) -> str:
    """The sequence in MESSAGING of a message that a cursor names."""
    return f"""(
        SELECT stream_sequence FROM {{message_search}}
        WHERE conversation_id = %({message}_conversation)s::uuid AND sequence = %({message}_sequence)s
    )"""  # noqa: S608


def _page_of_hits(newest: str, order: str) -> str:
    """A page of the newest hits: of the messages of `newest`, one more than are compared, then out of the index."""
    return f"""
        WITH bounds AS MATERIALIZED (
            SELECT COALESCE({_position_of("newest")} + 1, {_position_of("last")}, %(without)s) AS below,
                   COALESCE({_position_of("last")}, %(without)s) AS last
        ), most AS MATERIALIZED (
            SELECT CASE WHEN count(*) < %(frequent)s THEN {_COMPARED} ELSE {_COMPARED_IF_FREQUENT} END AS compared
            FROM (
                SELECT FROM (SELECT * FROM ({newest}) AS m ORDER BY {order} DESC LIMIT {_COMPARED}) AS m
                WHERE {_MATCHES} LIMIT %(frequent)s
            ) AS hit
        ), compared AS MATERIALIZED (
            SELECT c.peer_id, m.sequence, m.stream_sequence, {_RANK} AS rank
            FROM (
                SELECT * FROM ({newest}) AS m ORDER BY {order} DESC LIMIT (SELECT compared FROM most)
            ) AS m
            JOIN {{members}} AS c ON c.user_id = %(user_id)s AND c.conversation_id = m.conversation_id AND c.open
            WHERE {_MATCHES}
            ORDER BY {order} DESC LIMIT %(candidates)s
        ), earlier AS MATERIALIZED (
            SELECT stream_sequence FROM ({newest}) AS m ORDER BY {order} DESC
            OFFSET (SELECT compared FROM most) LIMIT 1
        ), indexed AS (
            SELECT c.peer_id, m.sequence, m.stream_sequence, {_RANK} AS rank
            FROM {{message_search}} AS m
            JOIN {{members}} AS c ON c.user_id = %(user_id)s AND c.conversation_id = m.conversation_id AND c.open
            -- Known before the index is read, which is then left alone.
            WHERE (SELECT count(*) FROM compared) < %(candidates)s AND (SELECT count(*) FROM earlier) > 0
              AND m.stream_sequence <= (SELECT stream_sequence FROM earlier)
              AND ARRAY[m.conversation_id, m.sender_id, m.recipient_id] @> ARRAY[%(scope)s]::uuid[]
              AND m.words @@ %(looked_up)s::tsquery
              -- An expression, which the index does not have.
              AND (%(others)s::tsquery IS NULL OR (m.words || ''::tsvector) @@ %(others)s::tsquery)
              AND m.folded LIKE ALL (%(patterns)s::text[])
            ORDER BY m.stream_sequence DESC LIMIT %(candidates)s
        )
        SELECT * FROM (
            SELECT *, first_value(peer_id) OVER newest AS newest_peer_id,
                   first_value(sequence) OVER newest AS newest_sequence
            FROM (SELECT * FROM compared UNION ALL SELECT * FROM indexed) AS hit
            WINDOW newest AS (ORDER BY stream_sequence DESC)
            ORDER BY stream_sequence DESC LIMIT %(candidates)s
        ) AS hit
        WHERE (rank, stream_sequence) < (%(last_rank)s, (SELECT last FROM bounds))
        ORDER BY rank DESC, stream_sequence DESC LIMIT %(limit)s
    """  # noqa: S608 - put together from what stands above


def _newest(condition: str, order: str) -> str:
    """One more of the messages than are compared, so that it shows whether there are more."""
    return f"""
        (SELECT conversation_id, sequence, stream_sequence, words, folded FROM {{message_search}}
         WHERE {condition} ORDER BY {order} DESC LIMIT {_COMPARED_IF_FREQUENT} + 1)
    """  # noqa: S608


_BELOW = "stream_sequence < (SELECT below FROM bounds)"
_OF_ALL = _page_of_hits(
    # Both in their order, or PostgreSQL would read and sort all of them.
    " UNION ALL ".join(
        _newest(f"{person} = %(user_id)s AND {_BELOW}", "stream_sequence") for person in ("sender_id", "recipient_id")
    ),
    "stream_sequence",
)
_OF_ONE = _page_of_hits(
    _newest(f"conversation_id = %(scope)s AND sequence <= %(first_sequence)s AND {_BELOW}", "sequence"), "sequence"
)
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


class Hit(msgspec.Struct, frozen=True):
    peer_id: str
    sequence: int
    rank: int
    # Of the newest of all hits.
    newest_peer_id: str
    newest_sequence: int


class FoundRow(msgspec.Struct, frozen=True):
    """A message that was found, as JSON, and its text; `number` is that of its hit, from 1."""

    number: int
    peer_id: str
    text: str
    item: str


class _StemRow(msgspec.Struct, frozen=True):
    word: str
    stem: str


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
    ) -> tuple[list[Hit], Position]:
        """The user's messages that contain the terms, in conversations that are open to them.

        Newest first; or, of the newest 200, `best` first: those with the most terms as whole words.
        """
        candidates = max(_RANKED, limit) if best else limit
        params: dict[str, object] = {
            "user_id": user_id,
            "scope": user_id if peer_id is None else pair_id(user_id, peer_id),
            "query": index_query(terms, stems),
            "looked_up": index_query(terms[:LOOKED_UP], stems),
            "others": index_query(terms[LOOKED_UP:], stems) or None,
            "patterns": run_patterns(terms),
            "whole": whole_words(terms, stems) if best else [],
            "candidates": candidates,
            "frequent": 2 * candidates * _COMPARED // _COMPARED_IF_FREQUENT + 1,
            "limit": limit,
            **_bounds(user_id, after, best=best),
        }
        # How many messages a user has and how common a word is decides between plans that differ a hundredfold.
        query = _OF_ALL if peer_id is None else _OF_ONE
        return await self._search.select(Hit, query, params, plan_each_time=True)

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


def cursor_after(hit: Hit, *, best: bool) -> SearchCursor:
    """The cursor of the page that follows the hit."""
    if not best:
        return SearchCursor(hit.peer_id, hit.sequence)
    return SearchCursor(hit.peer_id, hit.sequence, hit.rank, hit.newest_peer_id, hit.newest_sequence)


def _bounds(user_id: str, after: SearchCursor | None, *, best: bool) -> dict[str, object]:
    """Where a page begins. A cursor names messages of the user's conversations; with an unknown one it ends."""
    last = None if after is None else (pair_id(user_id, after.peer_id), after.sequence)
    newest = None
    if best and after is not None and after.newest_peer_id is not None:
        newest = (pair_id(user_id, after.newest_peer_id), after.newest_sequence)
    last_conversation, last_sequence = last or (None, None)
    newest_conversation, newest_sequence = newest or (None, None)
    return {
        "last_conversation": last_conversation,
        "last_sequence": last_sequence,
        "newest_conversation": newest_conversation,
        "newest_sequence": newest_sequence,
        "first_sequence": newest_sequence or last_sequence or _LAST,
        "without": _LAST if after is None else 0,
        "last_rank": after.rank if best and after is not None else _MOST_RANK,
    }
