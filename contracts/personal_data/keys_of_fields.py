"""Whose data each field of personal data is, and which data key seals it."""

from collections.abc import Callable, Mapping
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple

import msgspec

from contracts.events.login_failure import LoginFailed
from contracts.events.message import MessageChange
from contracts.events.session import SessionCreated
from contracts.personal_data.key_ids import address_key, person_key, text_key

# The user whose data a field is, from the struct that contains it and the event's aggregate id; None: no user's.
OwnerOf = Callable[[msgspec.Struct, str], str | None]


class KeyOf(NamedTuple):
    """The key of a field, from the struct that contains it, the event's aggregate id and the event's time; None: the
    field stays as it is, because the event names no user whose data it is."""

    owner: OwnerOf
    # From the same, and the owner.
    key: Callable[[str, msgspec.Struct, str, datetime], str]

    def __call__(self, container: msgspec.Struct, aggregate_id: str, at: datetime) -> str | None:
        user_id = self.owner(container, aggregate_id)
        return None if user_id is None else self.key(user_id, container, aggregate_id, at)


def _person(user_id: str, container: msgspec.Struct, aggregate_id: str, at: datetime) -> str:
    return person_key(user_id)


def _text(user_id: str, container: msgspec.Struct, aggregate_id: str, at: datetime) -> str:
    return text_key(aggregate_id, user_id, at)


def _text_of_change(user_id: str, container: msgspec.Struct, aggregate_id: str, at: datetime) -> str:
    assert isinstance(container, MessageChange)
    # The month of the message, so that a change ends with it.
    return text_key(container.conversation_id, user_id, container.sent_at)


def _origin(user_id: str, container: msgspec.Struct, aggregate_id: str, at: datetime) -> str:
    assert isinstance(container, (LoginFailed, SessionCreated))
    until = container.origin_until
    return person_key(user_id) if until is None else address_key(user_id, until)


def _of(field: str) -> KeyOf:
    return KeyOf(_named(field), _person)


def _of_change(author: str) -> KeyOf:
    return KeyOf(_named(author), _text_of_change)


def _named(field: str) -> OwnerOf:
    value = attrgetter(field)

    def owner(container: msgspec.Struct, aggregate_id: str) -> str | None:
        user_id: str | None = value(container)
        return user_id

    return owner


_OF_AGGREGATE = KeyOf(lambda container, aggregate_id: aggregate_id, _person)
_OF_ORIGIN = KeyOf(_named("user_id"), _origin)
_NOT_SEALED = KeyOf(lambda container, aggregate_id: None, _person)
_OF_TEXT = KeyOf(_named("sender_id"), _text)

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


def is_copied(field: str) -> bool:
    """Whether the field belongs to a state that each event of its aggregate repeats.

    Such a field may be about a person whom the event does not concern, and who has been erased since.
    """
    return field.partition("/")[2].startswith("address.")


# By field of personal data, `<event type>/<path>`.
KEY_OF: Mapping[str, KeyOf] = {
    "user.created/username": _OF_AGGREGATE,
    "user.created/display_name": _OF_AGGREGATE,
    **{f"{event_type}/address.{name}": _of("owner") for event_type in _WITH_ADDRESS for name in _OF_ACCOUNT},
    **{f"{event_type}/address.pending.{name}": _of("user_id") for event_type in _WITH_ADDRESS for name in _OF_ACCOUNT},
    **{
        f"{event_type}/{name}": _of("user_id")
        for event_type in ("email.released", "email.claimed")
        for name in _OF_ACCOUNT
    },
    "data_keys.hold_placed/reason": _OF_AGGREGATE,
    "login.failed/address": _OF_ORIGIN,
    "login.failed/device": _OF_ORIGIN,
    "session.created/username": _of("user_id"),
    "session.created/device": _OF_ORIGIN,
    "session.created/address": _OF_ORIGIN,
    "session.revoked/note": _of("user_id"),
    "profile.created/username": _OF_AGGREGATE,
    "profile.created/display_name": _OF_AGGREGATE,
    "profile.updated/display_name": _OF_AGGREGATE,
    "profile.updated/bio": _OF_AGGREGATE,
    "profile.updated/avatar_url": _OF_AGGREGATE,
    "message.sent/text": _OF_TEXT,
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
    "operator.action_ended/error": _NOT_SEALED,
    "dead_letter.discarded/error": _NOT_SEALED,
    "dead_letter.discarded/reason": _NOT_SEALED,
    "dead_letter.discarded/by": _NOT_SEALED,
}
