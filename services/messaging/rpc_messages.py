"""Request shapes and answers that several of messaging's gRPC methods share."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from contracts.messages import Quote, Reaction, SentMessage
from contracts.positions import Position
from contracts.subjects import MESSAGING
from contracts.values.field_types import Id, PageLimit
from contracts.values.ids import pair_id
from contracts.values.timestamps import rfc3339
from services.messaging.changes.domain import Message
from services.messaging.domain import Sent
from services.messaging.queries import StoredMessage


class UserRequest(msgspec.Struct, frozen=True):
    user_id: Id


class UserPageRequest(msgspec.Struct, frozen=True):
    user_id: Id
    limit: PageLimit


def message_answer(message: Sent | StoredMessage, one: str, other: str, state: Message, quote: Quote | None) -> bytes:
    """The message as JSON, as it is now, in the conversation of the two users."""
    return msgspec.json.encode(
        SentMessage(
            message_id=message.message_id,
            conversation_id=pair_id(one, other),
            sequence=message.sequence,
            sender_id=message.sender_id,
            text=state.current_text(message.text) or "",
            sent_at=rfc3339(message.sent_at),
            edited_at=UNSET if state.edited_at is None else rfc3339(state.edited_at),
            deleted=state.deleted or UNSET,
            reply_to=UNSET if quote is None else quote,
            reactions=[Reaction(*use) for use in state.users_by_emoji().items()] or UNSET,
        )
    )


def id_tuple(values: Sequence[str]) -> tuple[str, ...]:
    """The ids as validation expects them: a repeated field is of a type of its own."""
    return tuple(values)


def encoded_position(sequence: int) -> str:
    """The position after an event of MESSAGING; empty if there was none (0)."""
    return Position.at(MESSAGING, sequence).encode() if sequence else ""
