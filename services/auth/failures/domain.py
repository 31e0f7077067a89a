"""Decides which failed logins become events: the first of an hour one by one, further ones as counts. Without I/O.

The limits hold for an account, and for all unknown logins together, however many replicas record: they follow from the
aggregate's last event, on which each append is conditional.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from contracts.events.event import Event
from contracts.events.login_failure import FailureReason, LoginFailed

# Events of one aggregate in a clock hour that stand for one failure each.
SINGLES = 20
# Interval between events with counts.
PAUSE = timedelta(minutes=5)
# Pairs of reason and address that are counted separately; further failures are counted by reason alone.
ORIGINS = 8
# A failure that waited longer than this for its event is recorded with its own time.
NOTICEABLE = timedelta(seconds=5)


class LoginFailures(msgspec.Struct, frozen=True, kw_only=True):
    # Time of the last event; None: there is none.
    last_at: datetime | None = None
    # Events in the clock hour of the last one.
    number: int = 0

    def number_at(self, now: datetime) -> int:
        """Returns the number of events in the current clock hour. A clock that is behind begins no second hour."""
        return self.number if self.last_at is not None and _hour(self.last_at) >= _hour(now) else 0


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One failed login that has no event yet."""

    reason: FailureReason
    address: str
    device: str
    at: datetime


class Count(msgspec.Struct, frozen=True):
    """Failures of the same reason and address, in no event yet."""

    failures: int
    since: datetime
    # Empty if they differ.
    device: str


class Pending(msgspec.Struct):
    """The failures of one aggregate that have no event yet; bounded, however many they are."""

    # At most SINGLES.
    singles: list[Failure] = []
    # By reason and address. An address is empty for the failures beyond ORIGINS.
    counts: dict[tuple[FailureReason, str], Count] = {}
    # Nothing can be recorded before this time; None: unknown.
    resumes_at: datetime | None = None

    @property
    def total(self) -> int:
        return len(self.singles) + sum(count.failures for count in self.counts.values())

    def add(self, failure: Failure) -> None:
        if len(self.singles) < SINGLES and not self.counts:
            self.singles.append(failure)
        else:
            self.count(failure)

    def count(self, failure: Failure) -> None:
        origin = (failure.reason, failure.address)
        if origin not in self.counts and len(self.counts) >= ORIGINS:
            origin = (failure.reason, "")
        known = self.counts.get(origin)
        if known is None:
            self.counts[origin] = Count(1, failure.at, failure.device)
        else:
            device = known.device if known.device == failure.device else ""
            self.counts[origin] = Count(known.failures + 1, min(known.since, failure.at), device)

    def copy(self) -> "Pending":
        return Pending(list(self.singles), dict(self.counts), self.resumes_at)


def evolve_login_failures(state: LoginFailures, event: Event, at: datetime) -> LoginFailures:
    """Derives the state from the last event alone."""
    return LoginFailures(last_at=at, number=event.number) if isinstance(event, LoginFailed) else state


def decide_record(
    state: LoginFailures,
    user_id: str | None,
    pending: Pending,
    now: datetime,
    *,
    final: bool = False,
    keep_origins: timedelta | None = None,
) -> tuple[tuple[LoginFailed, ...], Pending]:
    """Returns the events that are due, and the failures that have to wait for a later one.

    `user_id`: None for logins that no account has. `final`: counts do not wait, since the process ends.
    `keep_origins`: how long the addresses and devices are kept; None: as long as the account.
    """
    number = state.number_at(now)
    room = max(SINGLES - number, 0)
    rest = Pending(counts=dict(pending.counts))
    singles = pending.singles[:room]
    for failure in pending.singles[room:]:
        rest.count(failure)
    events = list(_singles(singles, user_id, number, now))
    if final or state.last_at is None or now - state.last_at >= PAUSE:
        events += _counts(rest, user_id, number + len(events))
        rest = Pending()
    if keep_origins is not None:
        events = [msgspec.structs.replace(event, origin_until=now + keep_origins) for event in events]
    if rest.counts:
        last_at = now if events or state.last_at is None else state.last_at
        rest.resumes_at = min(last_at + PAUSE, _hour(now) + timedelta(hours=1))
    return tuple(events), rest


def _singles(failures: Iterable[Failure], user_id: str | None, number: int, now: datetime) -> Iterable[LoginFailed]:
    for following, failure in enumerate(failures, number + 1):
        yield LoginFailed(
            user_id=user_id,
            reason=failure.reason,
            address=failure.address,
            device=failure.device,
            number=following,
            since=failure.at if now - failure.at > NOTICEABLE else None,
        )


def _counts(pending: Pending, user_id: str | None, number: int) -> Iterable[LoginFailed]:
    for following, ((reason, address), count) in enumerate(pending.counts.items(), number + 1):
        yield LoginFailed(
            user_id=user_id,
            reason=reason,
            address=address,
            device=count.device,
            number=following,
            count=count.failures,
            since=count.since,
        )


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
