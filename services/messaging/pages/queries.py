"""Queries for pages: the database builds their JSON, and one statement serves a batch of requests."""

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec

from contracts.positions import Position
from projections.engine import ReadModel
from projections.engine.read_model import Snapshot
from services.messaging.message_json import CONVERSATION_ITEM, MESSAGE_ITEM
from services.messaging.queries import END_OF_TIME, LAST_ID, SEEN_AT, ConversationsCursor

# Separates items, which do not contain this character.
SEPARATOR = "\n"


class PageRequest(msgspec.Struct, frozen=True):
    """A user's request for a conversation with a peer."""

    user_id: str
    peer_id: str


class ConversationState(msgspec.Struct, frozen=True):
    """State of the conversation of one request; `turn` is the request's 1-based index."""

    turn: int
    open: bool
    conversation_id: str
    # Sequence in MESSAGING of its last event in the rows; events applied late do not count.
    changed: int
    # Sequence in AUTH of the last erasure of any user that the rows reflect; 0: there is none.
    erased: int


class NewestRow(msgspec.Struct, frozen=True):
    """The newest messages of a conversation, newest first: their JSON, and their sequences."""

    turn: int
    open: bool
    conversation_id: str
    changed: int
    erased: int
    # Encoded, as clients get them: texts beyond ASCII take long to decode and encode again.
    items: bytes | None
    sequences: str | None


class MessageConversation(msgspec.Struct, frozen=True):
    message_id: str
    conversation_id: str


class RangeRequest(msgspec.Struct, frozen=True):
    """A request for a part of a conversation: `limit` messages from the sequence `bound` on, exclusive."""

    user_id: str
    peer_id: str
    bound: int
    limit: int


class RangeRow(msgspec.Struct, frozen=True):
    """A part of a conversation, in the requested order."""

    turn: int
    open: bool
    # Encoded, separated by commas.
    items: bytes | None
    last: int | None
    more: bool


class ListRequest(msgspec.Struct, frozen=True):
    """A request for a page of a user's conversations."""

    user_id: str
    limit: int
    after: ConversationsCursor | None
    # Only archived ones or only the others; None: all.
    archived: bool | None = None


class ListRow(msgspec.Struct, frozen=True):
    """A page of a user's conversations, pinned ones first, then by latest activity."""

    turn: int
    items: str | None
    conversation_ids: str | None
    more: bool
    pinned: bool | None
    activity_at: datetime | None
    peer_id: str | None


class PageQueries:
    def __init__(self, model: ReadModel) -> None:
        self._model = model

    async def wait_for(self, position: Position) -> None:
        await self._model.wait_for(position)

    async def conversation_states(self, requests: Sequence[PageRequest]) -> tuple[list[ConversationState], Snapshot]:
        """Returns the state of each requested conversation; one that never existed has no row."""
        return await self._model.select_snapshot(
            ConversationState,
            """
            SELECT asked.turn, c.open, c.conversation_id, c.stream_sequence AS changed,
                (SELECT COALESCE(max(sequence), 0) FROM {erased}) AS erased
            FROM unnest(%(users)s::uuid[], %(peers)s::uuid[]) WITH ORDINALITY AS asked (user_id, peer_id, turn)
            JOIN {conversations} AS c USING (user_id, peer_id)
            """,
            _pairs(requests),
        )

    async def newest(self, requests: Sequence[PageRequest], count: int) -> tuple[list[NewestRow], Snapshot]:
        """Returns the newest `count` messages of each conversation, newest first; none of a closed one."""
        rows = """
            SELECT * FROM {messages} AS m
            WHERE m.conversation_id = c.conversation_id AND c.open AND m.message_id IS NOT NULL
            ORDER BY m.sequence DESC LIMIT %(count)s
        """
        return await self._model.select_snapshot(
            NewestRow,
            f"""
            SELECT asked.turn, c.open, c.conversation_id, c.stream_sequence AS changed,
                (SELECT COALESCE(max(sequence), 0) FROM {{erased}}) AS erased, page.items, page.sequences
            FROM unnest(%(users)s::uuid[], %(peers)s::uuid[]) WITH ORDINALITY AS asked (user_id, peer_id, turn)
            JOIN {{conversations}} AS c USING (user_id, peer_id)
            CROSS JOIN LATERAL (
                SELECT textout(string_agg({MESSAGE_ITEM}, E'\\n' ORDER BY m.sequence DESC)) AS items,
                       string_agg(m.sequence::text, ' ' ORDER BY m.sequence DESC) AS sequences
                FROM ({_with_seen_at(rows)}) AS m
            ) AS page
            """,  # noqa: S608
            {**_pairs(requests), "count": count},
        )

    async def conversations_of(self, message_ids: Collection[str]) -> dict[str, str]:
        """Returns the conversation of each of the messages that have a row."""
        rows, _ = await self._model.select(
            MessageConversation,
            "SELECT message_id, conversation_id FROM {messages} WHERE message_id = ANY(%(ids)s::uuid[])",
            {"ids": list(message_ids)},
        )
        return {row.message_id: row.conversation_id for row in rows}

    async def parts(self, requests: Sequence[RangeRequest], *, ascending: bool) -> tuple[list[RangeRow], Position]:
        """Returns messages oldest first above each bound, or newest first below it; no row without a conversation."""
        which, order = ("m.sequence > wanted.bound", "ASC") if ascending else ("m.sequence < wanted.bound", "DESC")
        rows = f"""
            SELECT * FROM {{messages}} AS m
            WHERE m.conversation_id = c.conversation_id AND c.open AND m.message_id IS NOT NULL AND {which}
            ORDER BY m.sequence {order} LIMIT wanted.most + 1
        """  # noqa: S608
        return await self._model.select(
            RangeRow,
            f"""
            SELECT wanted.turn, c.open, page.*
            FROM unnest(%(users)s::uuid[], %(peers)s::uuid[], %(bounds)s::bigint[], %(limits)s::bigint[])
                WITH ORDINALITY AS wanted (user_id, peer_id, bound, most, turn)
            JOIN {{conversations}} AS c USING (user_id, peer_id)
            CROSS JOIN LATERAL (
                SELECT textout(array_to_string(
                           (array_agg({MESSAGE_ITEM} ORDER BY m.sequence {order}))[:wanted.most], ','
                       )) AS items,
                       (array_agg(m.sequence ORDER BY m.sequence {order}))[LEAST(wanted.most, count(*))] AS last,
                       count(*) > wanted.most AS more
                FROM ({_with_seen_at(rows)}) AS m
            ) AS page
            """,  # noqa: S608
            {
                "users": [request.user_id for request in requests],
                "peers": [request.peer_id for request in requests],
                "bounds": [request.bound for request in requests],
                "limits": [request.limit for request in requests],
            },
        )

    async def lists(self, requests: Sequence[ListRequest]) -> tuple[list[ListRow], Position]:
        """Returns a page of open conversations for each request."""
        return await self._model.select(
            ListRow,
            f"""
            SELECT wanted.turn, page.* FROM unnest(
                %(users)s::uuid[], %(limits)s::bigint[], %(archived)s::boolean[], %(pins)s::boolean[],
                %(times)s::timestamptz[], %(peers)s::uuid[]
            ) WITH ORDINALITY AS wanted (user_id, most, archived, pinned, activity_at, peer_id, turn)
            CROSS JOIN LATERAL (
                SELECT string_agg({CONVERSATION_ITEM}, E'\\n' ORDER BY c.number)
                           FILTER (WHERE c.number <= wanted.most) AS items,
                       string_agg(c.conversation_id::text, ' ' ORDER BY c.number)
                           FILTER (WHERE c.number <= wanted.most) AS conversation_ids,
                       count(*) > wanted.most AS more,
                       bool_or(c.pinned) FILTER (WHERE c.number = wanted.most) AS pinned,
                       max(c.activity_at) FILTER (WHERE c.number = wanted.most) AS activity_at,
                       max(c.peer_id::text) FILTER (WHERE c.number = wanted.most) AS peer_id
                FROM (
                    SELECT c.*, row_number() OVER (
                        ORDER BY c.pinned DESC, c.activity_at DESC, c.peer_id DESC
                    ) AS number FROM (
                        SELECT * FROM {{conversations}} AS c
                        WHERE c.user_id = wanted.user_id AND c.open
                          AND c.archived = COALESCE(wanted.archived, c.archived)
                          AND (c.pinned, c.activity_at, c.peer_id)
                              < (wanted.pinned, wanted.activity_at, wanted.peer_id)
                        ORDER BY c.pinned DESC, c.activity_at DESC, c.peer_id DESC LIMIT wanted.most + 1
                    ) AS c
                ) AS c
                LEFT JOIN LATERAL (
                    SELECT m.*, {SEEN_AT} AS seen_at FROM {{messages}} AS m
                    WHERE m.conversation_id = c.conversation_id AND m.sequence = c.last_sequence
                ) AS m ON true
            ) AS page
            """,  # noqa: S608
            {
                "users": [request.user_id for request in requests],
                "limits": [request.limit for request in requests],
                "archived": [request.archived for request in requests],
                "pins": [request.after.pinned if request.after else True for request in requests],
                "times": [request.after.activity_at if request.after else END_OF_TIME for request in requests],
                "peers": [request.after.peer_id if request.after else LAST_ID for request in requests],
            },
        )


def _pairs(requests: Sequence[PageRequest]) -> dict[str, object]:
    return {"users": [request.user_id for request in requests], "peers": [request.peer_id for request in requests]}


def _with_seen_at(rows: str) -> str:
    """A query for the same rows `m` with their `seen_at`; `rows`: a query for messages of conversation `c`.

    The times equal `SEEN_AT`, which looks the mark and the reply up for each message. A page reads the marks and the
    replies of both people once, and looks each message up in arrays of them.
    """
    return f"""
        WITH page AS MATERIALIZED ({rows}), span AS MATERIALIZED (
            SELECT min(sequence) AS first, max(sequence) AS last FROM page
        ), acts AS MATERIALIZED (
            SELECT side.sender_id, mark.sequences AS marks, mark.times AS marked_at,
                   reply.sequences AS replies, reply.times AS replied_at
            FROM span
            CROSS JOIN (VALUES (c.user_id, c.peer_id), (c.peer_id, c.user_id)) AS side (sender_id, reader_id)
            CROSS JOIN LATERAL ({_acts("{seen_marks}", "reader_id", "seen_at")}) AS mark
            CROSS JOIN LATERAL ({_acts("{messages}", "sender_id", "sent_at")}) AS reply
        )
        SELECT m.*, LEAST(
            {_first("acts.marked_at", "acts.marks")}, {_first("acts.replied_at", "acts.replies")}
        ) AS seen_at
        FROM page AS m LEFT JOIN acts USING (sender_id)
    """  # noqa: S608


def _acts(table: str, reader: str, at: str) -> str:
    """SQL query: a reader's acts (marks or replies) from the page's first message to the first act after the page."""
    of = f"""
        FROM {table} AS act
        WHERE act.conversation_id = c.conversation_id AND act.{reader} = side.reader_id AND act.sequence
    """
    return f"""
        SELECT array_agg(act.sequence ORDER BY act.sequence) AS sequences,
               array_agg(act.{at} ORDER BY act.sequence) AS times
        {of} BETWEEN span.first AND COALESCE((SELECT min(act.sequence) {of} > span.last), span.last)
    """


def _first(times: str, sequences: str) -> str:
    """SQL: the time of the first act that covers message `m`, or NULL. No reply has the sequence of the message."""
    # The number of those below it.
    return f"{times}[width_bucket(m.sequence - 1, {sequences}) + 1]"
