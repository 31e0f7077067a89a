"""SQL expressions for the JSON of messages and conversations, made from the structs in contracts/messages.py."""

from collections.abc import Mapping

import msgspec
from msgspec import UNSET

from contracts.events.message import FOREVER
from contracts.messages import ConversationItem, LiveMessage, MessageItem, Quote, Reaction
from contracts.notification_kinds import LiveConversation


def _quoted(column: str) -> str:
    return f"""'"' || {column} || '"'"""


def _time(column: str) -> str:
    return _quoted(f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')""")


def json_object(shape: type[msgspec.Struct], members: Mapping[str, str]) -> str:
    """An expression for the JSON object of a row, NULL if a required member is.

    `members`: the expression for each member's JSON; an optional member is left out where it is NULL.
    """
    parts = []
    for number, field in enumerate(msgspec.structs.fields(shape)):
        part = f"""'{"," if number else "{"}"{field.encode_name}":' || {members[field.name]}"""
        parts.append(f"COALESCE({part}, '')" if field.default is UNSET else part)
    # Adjacent literals become one, since the database would join them for each row.
    return " || ".join([*parts, "'}'"]).replace("' || '", "")


# Of a row `m` that is a reply: the message that it answers.
_QUOTED = json_object(
    Quote,
    {
        "message_id": _quoted("q.message_id"),
        "sequence": "q.sequence",
        "sender_id": _quoted("q.sender_id"),
        "text": "to_json(q.text)",
        "deleted": "CASE WHEN q.deleted THEN 'true' END",
    },
)
# Of a row `m`: the message that it answers, or NULL.
QUOTE = f"""CASE WHEN m.reply_to_sequence IS NOT NULL THEN (
        SELECT {_QUOTED} FROM {{messages}} AS q
        WHERE q.conversation_id = m.conversation_id AND q.sequence = m.reply_to_sequence
    ) END"""  # noqa: S608


def _array(item: str, order: str) -> str:
    """An aggregate for the JSON array of the rows."""
    return f"'[' || string_agg({item}, ',' ORDER BY {order}) || ']'"


# Of rows `r`: who reacts with one emoji.
_REACTION = json_object(
    Reaction,
    {"emoji": "to_json(r.emoji)", "user_ids": _array(_quoted("r.user_id"), "r.stream_sequence")},
)
# Of a row `m`, which has reactions unless it was deleted.
_REACTIONS = f"""CASE WHEN m.reacted AND m.deleted IS NOT TRUE THEN (
        SELECT {_array("used.emoji", "used.since")} FROM (
            SELECT {_REACTION} AS emoji, min(r.stream_sequence) AS since FROM {{reactions}} AS r
            WHERE r.conversation_id = m.conversation_id AND r.sequence = m.sequence AND r.emoji IS NOT NULL
            GROUP BY r.emoji
        ) AS used
    ) END"""  # noqa: S608
# Of a row `m`: a message with `seen_at`, and for a live event with `peer_id`.
_MESSAGE = {
    "message_id": _quoted("m.message_id"),
    "conversation_id": _quoted("m.conversation_id"),
    "user_id": _quoted("m.peer_id"),
    "sequence": "m.sequence",
    "sender_id": _quoted("m.sender_id"),
    "text": "to_json(m.text)",
    "sent_at": _time("m.sent_at"),
    "edited_at": _time("m.edited_at"),
    "deleted": "CASE WHEN m.deleted THEN 'true' END",
    "reply_to": QUOTE,
    "reactions": _REACTIONS,
    "seen_at": _time("m.seen_at"),
}
MESSAGE_ITEM = json_object(MessageItem, _MESSAGE)
LIVE_MESSAGE = json_object(LiveMessage, _MESSAGE)

# NULL unless conversation `c` is muted now.
_MUTED_UNTIL = f"""
    CASE WHEN c.muted_until >= '{FOREVER:%Y-%m-%d}Z' THEN '"forever"'
         WHEN c.muted_until > now() THEN {_time("c.muted_until")} END
"""
LIVE_CONVERSATION = json_object(
    LiveConversation,
    {
        "user_id": _quoted("c.peer_id"),
        "conversation_id": _quoted("c.conversation_id"),
        "muted_until": _MUTED_UNTIL,
        "pinned": "c.pinned",
        "archived": "c.archived",
        "draft": "NULL",
    },
)

# Of rows `c`, a conversation, and `m`, its last message or NULL.
CONVERSATION_ITEM = json_object(
    ConversationItem,
    {
        "user_id": _quoted("c.peer_id"),
        "conversation_id": _quoted("c.conversation_id"),
        "last_message": f"COALESCE({MESSAGE_ITEM}, 'null')",
        "unread_count": "(c.last_sequence - c.seen_sequence)",
        "seen_sequence": "c.seen_sequence",
        "peer_seen_sequence": "c.peer_seen_sequence",
        "muted_until": _MUTED_UNTIL,
        "pinned": "c.pinned",
        "archived": "c.archived",
        # Added by `with_draft`.
        "draft": "NULL",
    },
)


def with_draft(item: str, draft: str) -> str:
    """A `ConversationItem` as JSON, with its last member."""
    return f'{item[:-1]},"draft":{msgspec.json.encode(draft).decode()}}}'
