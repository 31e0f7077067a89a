"""Events of failed logins and of other failed proofs of a user: never what was typed, neither login nor password."""

from typing import ClassVar, Literal

from contracts.events.event import Event, Moment
from contracts.values.personal_data import Personal

FailureReason = Literal[
    "wrong_password", "unknown_login", "email_not_verified", "wrong_code", "code_required", "rate_limited"
]
# Aggregate id for logins that no account has.
UNKNOWN = "unknown"


class LoginFailed(Event, frozen=True, kw_only=True):
    """A login failed, or a user who had to confirm the password or a code typed a wrong one."""

    TYPE: ClassVar[str] = "login.failed"
    PRIVATE: ClassVar[bool] = True
    # None: no account has the login.
    user_id: str | None
    # One of `FailureReason`.
    reason: str
    # As much of the network address as the installation keeps; empty if none, or if the counted failures came from
    # too many addresses to list.
    address: Personal[str]
    # The client's own description of the device; empty if it sent none, or if those of the counted failures differ.
    device: Personal[str]
    # Of the events on this subject in this clock hour (UTC), from 1.
    number: int
    # How many failures of this reason and address the event stands for.
    count: int = 1
    # When the first of them happened, if that was noticeably before the event.
    since: Moment | None = None
    # Until when the address and the device are kept; None: as long as the account.
    origin_until: Moment | None = None
