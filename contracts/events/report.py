"""Events of a report: a user reports another user, or messages of their conversation, to the operators."""

from typing import ClassVar

import msgspec

from contracts.events.event import Event, Moment
from contracts.values.personal_data import Personal


class ReportedMessage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A copy of a message, which stays when the message is edited or deleted."""

    message_id: str
    # In the conversation of the two.
    sequence: int
    sender_id: str
    sent_at: Moment
    # Empty: it was deleted before the report.
    text: Personal[str]


class ReportFiled(Event, frozen=True, kw_only=True):
    """A user reported another one."""

    TYPE: ClassVar[str] = "report.filed"
    PRIVATE: ClassVar[bool] = True
    reporter_id: str
    reported_id: str
    # One of `ReportReason`.
    reason: str
    comment: Personal[str] = ""
    # As the reporter could read them; of either of the two.
    messages: tuple[ReportedMessage, ...] = ()


class ReportViewed(Event, frozen=True, kw_only=True):
    """An operator was shown the reported texts."""

    TYPE: ClassVar[str] = "report.viewed"
    PRIVATE: ClassVar[bool] = True
    operator_id: str
    # The operator's name.
    operator: Personal[str]


class ReportSettled(Event, frozen=True, kw_only=True):
    """An operator decided on the report."""

    TYPE: ClassVar[str] = "report.settled"
    PRIVATE: ClassVar[bool] = True
    operator_id: str
    operator: Personal[str]
    # One of `ReportOutcome`.
    outcome: str
    note: Personal[str] = ""


class ReportExpired(Event, frozen=True, kw_only=True):
    """The time for which a settled report's texts are kept is over: no one is shown them any more."""

    TYPE: ClassVar[str] = "report.expired"
    PRIVATE: ClassVar[bool] = True
