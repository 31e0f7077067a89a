"""What operators do, and what they look at, through the page at /ops or the command line."""

from typing import ClassVar

import msgspec

from contracts.events.event import Event
from contracts.values.personal_data import Personal


class _ByOperator(Event, frozen=True, kw_only=True):
    """Who did it, and from where."""

    # The account's username; on the command line the login name on the machine.
    operator: Personal[str]
    # The account; None on the command line.
    operator_id: str | None = None
    # One of `Channel` (contracts/events/operator_actions.py).
    channel: str
    # The client's, cut as VESTNIK_AUDIT_ADDRESS says; on the command line the machine's host name.
    address: Personal[str] = ""
    # What it is about: a read model, the id of a user, report or dead letter, a stream, a file's name. Empty: nothing
    # in particular.
    target: str = ""


class OperatorActed(_ByOperator, frozen=True, kw_only=True):
    """An operator is about to do something: recorded before the act, which is not done if it cannot be recorded."""

    TYPE: ClassVar[str] = "operator.acted"
    PRIVATE: ClassVar[bool] = True
    # One of `ACTIONS` (contracts/events/operator_actions.py).
    action: str
    # Few and short, without personal data.
    details: dict[str, str] = msgspec.field(default_factory=dict)
    # Why; required for what destroys.
    reason: Personal[str] = ""


class OperatorActionEnded(Event, frozen=True, kw_only=True):
    """How an operator's act ended. An act without this event was interrupted: it may have taken effect or not."""

    TYPE: ClassVar[str] = "operator.action_ended"
    PRIVATE: ClassVar[bool] = True
    # One of `Outcome`.
    outcome: str
    # Why it failed.
    error: Personal[str] = ""


class OperatorLooked(_ByOperator, frozen=True, kw_only=True):
    """An operator is about to be shown something. The same look of the same operator is recorded once in ten
    minutes."""

    TYPE: ClassVar[str] = "operator.looked"
    PRIVATE: ClassVar[bool] = True
    # One of `LOOKS` (contracts/events/operator_actions.py).
    what: str
    # What was asked for, without cursors and limits.
    filter: dict[str, Personal[str]] = msgspec.field(default_factory=dict)
