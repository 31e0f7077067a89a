"""Which data key seals each field of personal data."""

from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec

from contracts.events.message import MessageChange, MessageSent
from contracts.personal_data.key_ids import person_key, text_key

# The key of a field, from the struct that contains it, the event's aggregate id and the event's time; None: the field
# stays as it is, because the event names no user whose data it is.
KeyOf = Callable[[msgspec.Struct, str, datetime], str | None]


def _of(field: str) -> KeyOf:
    def key(container: msgspec.Struct, aggregate_id: str, at: datetime) -> str | None:
        user_id: str | None = getattr(container, field)
        return None if user_id is None else person_key(user_id)

    return key


def _of_aggregate(container: msgspec.Struct, aggregate_id: str, at: datetime) -> str | None:
    return person_key(aggregate_id)


def _not_sealed(container: msgspec.Struct, aggregate_id: str, at: datetime) -> str | None:
    return None


def _of_text(container: msgspec.Struct, aggregate_id: str, at: datetime) -> str | None:
    assert isinstance(container, MessageSent)
    return text_key(aggregate_id, container.sender_id, at)


def _of_change(author: str) -> KeyOf:
    # The month of the message, so that a change ends with it.
    def key(container: msgspec.Struct, aggregate_id: str, at: datetime) -> str | None:
        assert isinstance(container, MessageChange)
        return text_key(container.conversation_id, getattr(container, author), container.sent_at)

    return key


# The events that contain the state of an e-mail address.
_WITH_ADDRESS = (
    "email.registration_requested",
    "email.change_requested",
    "email.replaced",
    "email.restored",
    "email.released",
    "email.verification_mail_requested",
    "email.registration_ended",
    "email.verified",
    "password.reset_requested",
)

_OF_ACCOUNT = ("email", "username")

# By field of personal data, `<event type>/<path>`.
KEY_OF: Mapping[str, KeyOf] = {
    "user.created/username": _of_aggregate,
    "user.created/display_name": _of_aggregate,
    **{f"{event_type}/address.{name}": _of("owner") for event_type in _WITH_ADDRESS for name in _OF_ACCOUNT},
    **{f"{event_type}/address.pending.{name}": _of("user_id") for event_type in _WITH_ADDRESS for name in _OF_ACCOUNT},
    **{
        f"{event_type}/{name}": _of("user_id")
        for event_type in ("email.released", "email.claimed")
        for name in _OF_ACCOUNT
    },
    "data_keys.hold_placed/reason": _of_aggregate,
    "login.failed/address": _of("user_id"),
    "login.failed/device": _of("user_id"),
    "session.created/username": _of("user_id"),
    "session.created/device": _of("user_id"),
    "session.created/address": _of("user_id"),
    "session.revoked/note": _of("user_id"),
    "profile.created/username": _of_aggregate,
    "profile.created/display_name": _of_aggregate,
    "profile.updated/display_name": _of_aggregate,
    "profile.updated/bio": _of_aggregate,
    "profile.updated/avatar_url": _of_aggregate,
    "message.sent/text": _of_text,
    "message.edited/text": _of_change("sender_id"),
    "reaction.changed/emoji": _of_change("user_id"),
    # A copy for operators stays when its month ends, and goes with its author.
    "report.filed/messages.text": _of("sender_id"),
    "report.filed/comment": _of("reporter_id"),
    "report.viewed/operator": _of("operator_id"),
    "report.settled/operator": _of("operator_id"),
    "report.settled/note": _of("operator_id"),
    # Without an account on the command line.
    "operator.acted/operator": _of("operator_id"),
    "operator.acted/address": _of("operator_id"),
    "operator.acted/reason": _of("operator_id"),
    "operator.looked/operator": _of("operator_id"),
    "operator.looked/address": _of("operator_id"),
    "operator.looked/filter": _of("operator_id"),
    "operator.action_ended/error": _not_sealed,
    "dead_letter.discarded/error": _not_sealed,
    "dead_letter.discarded/reason": _not_sealed,
    "dead_letter.discarded/by": _not_sealed,
}
