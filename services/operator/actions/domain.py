"""Who acts, and the events of their acts and looks: bounded texts, whatever was given."""

import re
from collections.abc import Mapping

import msgspec

from contracts.events.operator import OperatorActed, OperatorActionEnded, OperatorLooked
from contracts.events.operator_actions import ACTIONS, LOOKS, Channel, Outcome
from contracts.subjects import STREAMS
from contracts.values.ids import is_id

# In characters.
_LONGEST_NAME, _LONGEST_ADDRESS = 80, 253
_LONGEST_TARGET, _LONGEST_VALUE = 300, 300
_LONGEST_REASON, _LONGEST_ERROR = 1_000, 500
# Most entries of details, or of a filter.
_MOST_ENTRIES = 12
# In a look for a person by a name that no account has. A name is recorded as the account's id: the record is sealed for
# the operator, or not at all, so that the erasure of the person does not reach it.
UNKNOWN_NAME = "(unknown name)"
# In a look for the events of an aggregate whose id is none: it may be a person's name or address.
UNKNOWN_ID = "(unknown id)"
# Of an aggregate's id that is no UUID: the key of a claim, or a number.
_PART = re.compile(r"[0-9a-f]{32}|[0-9]{1,20}")


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """An operator who acts or looks, and from where."""

    # The account's username, or the login name on the machine.
    name: str
    # The account; None on the command line.
    user_id: str | None
    channel: Channel
    # The client's address, or the machine's host name.
    address: str

    @property
    def id(self) -> str:
        """As the envelope of an event names its actor."""
        return self.user_id or f"operator:{self.name}"

    @property
    def recorded_name(self) -> str:
        """The operator's name where the erasure of the account does not reach it: the account's id. On the command line
        the login name."""
        return self.user_id or self.name


def recorded_id(text: str) -> str:
    """How a look records the id of an aggregate that was asked for; empty for none."""
    parts = text.split(".")
    known = not text or all(is_id(part) or part in STREAMS or _PART.fullmatch(part) for part in parts)
    return text if known else UNKNOWN_ID


def acted(actor: Actor, action: str, target: str, details: Mapping[str, str], reason: str) -> OperatorActed:
    """
    Raises:
        LookupError: there is no such action in the table.
    """
    if action not in ACTIONS:
        raise LookupError(f"{action} is not in contracts/events/operator_actions.py")
    return OperatorActed(
        operator=_text(actor.name, _LONGEST_NAME),
        operator_id=actor.user_id,
        channel=actor.channel,
        address=_text(actor.address, _LONGEST_ADDRESS),
        target=_text(target, _LONGEST_TARGET),
        action=action,
        details=_entries(details),
        reason=_text(reason, _LONGEST_REASON),
    )


def ended(outcome: Outcome, error: str) -> OperatorActionEnded:
    return OperatorActionEnded(outcome=outcome, error=_text(error, _LONGEST_ERROR))


def looked(actor: Actor, what: str, target: str, filter_: Mapping[str, str]) -> OperatorLooked:
    """
    Raises:
        LookupError: there is no such look in the table.
    """
    if what not in LOOKS:
        raise LookupError(f"{what} is not in contracts/events/operator_actions.py")
    return OperatorLooked(
        operator=_text(actor.name, _LONGEST_NAME),
        operator_id=actor.user_id,
        channel=actor.channel,
        address=_text(actor.address, _LONGEST_ADDRESS),
        target=_text(target, _LONGEST_TARGET),
        what=what,
        filter=dict(_entries(filter_)),
    )


def _entries(entries: Mapping[str, str]) -> dict[str, str]:
    """The entries that are not empty."""
    bounded = {name: _text(value, _LONGEST_VALUE) for name, value in entries.items() if value}
    return dict(list(bounded.items())[:_MOST_ENTRIES])


def _text(text: str, longest: int) -> str:
    """One line of valid Unicode without NUL; an argument of the command line may be neither."""
    line = " ".join(text.replace("\x00", " ").split()).encode(errors="replace").decode()
    return line if len(line) <= longest else line[: longest - 1] + "…"
