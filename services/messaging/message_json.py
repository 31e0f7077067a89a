"""SQL expressions for the JSON of messages and conversations, made from the structs in contracts/messages.py."""

from collections.abc import Mapping

import msgspec
from msgspec import UNSET

from contracts.messages import ConversationItem, LiveMessage, MessageItem


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


# Of a row `m`: a message with `seen_at`, and for a live event with `peer_id`.
_MESSAGE = {
    "message_id": _quoted("m.message_id"),
    "conversation_id": _quoted("m.conversation_id"),
    "user_id": _quoted("m.peer_id"),
    "sequence": "m.sequence",
    "sender_id": _quoted("m.sender_id"),
    "text": "to_json(m.text)",
    "sent_at": _time("m.sent_at"),
    "seen_at": _time("m.seen_at"),
}
MESSAGE_ITEM = json_object(MessageItem, _MESSAGE)
LIVE_MESSAGE = json_object(LiveMessage, _MESSAGE)

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
    },
)
