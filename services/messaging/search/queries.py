"""Queries of the search for messages: hits in `message_search`, the messages themselves in `conversations`."""

from collections.abc import Collection, Sequence

import msgspec

from contracts.positions import Position
from contracts.values.field_types import MessageSequence
from contracts.values.field_types import Sequence as SequenceNumber
from contracts.values.ids import pair_id
from projections.engine.read_model import ReadModel
from services.messaging.message_json import MESSAGE_ITEM
from services.messaging.queries import SEEN_AT
from services.messaging.search.terms import Stems, Term, index_query, looked_up, run_patterns
from streams.lru_cache import LruCache

# Newest messages that are compared one by one, before the index is asked. They contain a page of hits of any word that
# one message in twenty contains; the index finds the rarer ones.
_COMPARED = 1_000
_STEMS_KEPT = 16_384
# Letters; too many different words share a shorter stem.
_SHORTEST_STEM = 3
_LAST = 2**63 - 1

_MATCHES = "m.words @@ %(query)s::tsquery AND m.folded LIKE ALL (%(patterns)s::text[])"


def _page_of_hits(own: str, order: str) -> str:
    """A page of hits, newest first: of the newest messages of `own`, then out of the index."""
    return f"""
        WITH compared AS MATERIALIZED (
            SELECT c.conversation_id, c.peer_id, m.sequence, m.stream_sequence
            FROM (SELECT * FROM ({own}) AS m ORDER BY {order} DESC LIMIT {_COMPARED}) AS m
            JOIN {{members}} AS c ON c.user_id = %(user_id)s AND c.conversation_id = m.conversation_id AND c.open
            WHERE {_MATCHES}
            ORDER BY {order} DESC LIMIT %(limit)s
        ), earlier AS MATERIALIZED (
            SELECT stream_sequence FROM ({own}) AS m ORDER BY {order} DESC OFFSET {_COMPARED} LIMIT 1
        ), indexed AS (
            SELECT c.conversation_id, c.peer_id, m.sequence, m.stream_sequence
            FROM {{message_search}} AS m
            JOIN {{members}} AS c ON c.user_id = %(user_id)s AND c.conversation_id = m.conversation_id AND c.open
            WHERE (SELECT count(*) FROM compared) < %(limit)s
              AND m.stream_sequence <= (SELECT stream_sequence FROM earlier)
              AND ARRAY[m.conversation_id, m.sender_id, m.recipient_id] @> ARRAY[%(scope)s]::uuid[]
              AND m.words @@ %(looked_up)s::tsquery
              -- An expression, which the index does not have, so that few terms are looked up.
              AND (m.words || ''::tsvector) @@ %(query)s::tsquery
              AND m.folded LIKE ALL (%(patterns)s::text[])
            ORDER BY m.stream_sequence DESC LIMIT %(limit)s
        )
        SELECT * FROM (SELECT * FROM compared UNION ALL SELECT * FROM indexed) AS hit
        ORDER BY hit.stream_sequence DESC LIMIT %(limit)s
    """  # noqa: S608 - put together from what stands above


_OF_ALL = _page_of_hits(
    """
    SELECT * FROM {message_search} WHERE sender_id = %(user_id)s AND stream_sequence < %(stream_sequence)s
    UNION ALL
    SELECT * FROM {message_search} WHERE recipient_id = %(user_id)s AND stream_sequence < %(stream_sequence)s
    """,
    "stream_sequence",
)
_OF_ONE = _page_of_hits(
    "SELECT * FROM {message_search} WHERE conversation_id = %(scope)s AND sequence < %(sequence)s", "sequence"
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
    """The last hit of a page: its sequence in MESSAGING, and in its conversation."""

    stream_sequence: SequenceNumber
    sequence: MessageSequence


class Hit(msgspec.Struct, frozen=True):
    conversation_id: str
    peer_id: str
    sequence: int
    stream_sequence: int


class FoundRow(msgspec.Struct, frozen=True):
    """A message that was found, as JSON, and its text."""

    stream_sequence: int
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
    ) -> tuple[list[Hit], Position]:
        """The user's newest messages that contain the terms, in conversations that are open to them, newest first."""
        return await self._search.select(
            Hit,
            _OF_ALL if peer_id is None else _OF_ONE,
            {
                "user_id": user_id,
                "scope": user_id if peer_id is None else pair_id(user_id, peer_id),
                "query": index_query(terms, stems),
                "looked_up": index_query(looked_up(terms), stems),
                "patterns": run_patterns(terms),
                "stream_sequence": after.stream_sequence if after else _LAST,
                "sequence": after.sequence if after else _LAST,
                "limit": limit,
            },
        )

    async def messages(self, user_id: str, hits: Sequence[Hit], position: Position) -> tuple[list[FoundRow], Position]:
        """The messages of the hits as they are now, at least as of the position; not of conversations closed since."""
        await self._conversations.wait_for(position)
        return await self._conversations.select(
            FoundRow,
            f"""
            SELECT hit.stream_sequence, c.peer_id, m.text, {MESSAGE_ITEM} AS item
            FROM unnest(%(peers)s::uuid[], %(sequences)s::bigint[], %(stream_sequences)s::bigint[])
                AS hit (peer_id, sequence, stream_sequence)
            JOIN {{conversations}} AS c ON c.user_id = %(user_id)s AND c.peer_id = hit.peer_id AND c.open
            CROSS JOIN LATERAL (
                SELECT m.*, {SEEN_AT} AS seen_at FROM {{messages}} AS m
                WHERE m.conversation_id = c.conversation_id AND m.sequence = hit.sequence AND m.message_id IS NOT NULL
            ) AS m
            ORDER BY hit.stream_sequence DESC
            """,  # noqa: S608
            {
                "user_id": user_id,
                "peers": [hit.peer_id for hit in hits],
                "sequences": [hit.sequence for hit in hits],
                "stream_sequences": [hit.stream_sequence for hit in hits],
            },
        )
