"""The report aggregate: filed by a user, viewed and settled by operators; some time later its texts expire."""

from datetime import datetime, timedelta

import msgspec

from contracts.errors import NotFound
from contracts.errors import ReportSettled as AlreadySettled
from contracts.events.event import Event
from contracts.events.report import ReportExpired, ReportFiled, ReportSettled, ReportViewed


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's decision."""

    at: datetime
    operator_id: str
    event: ReportSettled


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The aggregate's state."""

    # None: not filed. Without its comment and messages once they have expired.
    filed: ReportFiled | None = None
    filed_at: datetime | None = None
    settlement: Settlement | None = None
    expired_at: datetime | None = None


class Operator(msgspec.Struct, frozen=True):
    """Who acts."""

    user_id: str
    username: str


def evolve(state: Report, event: Event, at: datetime) -> Report:
    match event:
        case ReportFiled():
            return Report(filed=event, filed_at=at)
        case ReportSettled():
            settlement = Settlement(at=at, operator_id=event.operator_id, event=event)
            return msgspec.structs.replace(state, settlement=settlement)
        case ReportExpired():
            return _without_texts(state, at)
        case _:
            return state


def decide_file(state: Report, report: ReportFiled) -> tuple[Event, ...]:
    """Files the report; no event if it was filed before."""
    return () if state.filed is not None else (report,)


def without_due_texts(state: Report, now: datetime, keep: timedelta) -> Report:
    """The report as it is shown: without its texts from `keep` after the settlement, recorded as expired or not."""
    if state.settlement is None or state.expired_at is not None or now < state.settlement.at + keep:
        return state
    return _without_texts(state, state.settlement.at + keep)


def decide_view(state: Report, operator: Operator) -> tuple[Event, ...]:
    """Records that the operator is shown the report's texts; no event if they have expired.

    Raises:
        NotFound: there is no such report.
    """
    if state.filed is None:
        raise NotFound("There is no such report.")
    if state.expired_at is not None:
        return ()
    return (ReportViewed(operator_id=operator.user_id, operator=operator.username),)


def decide_settle(state: Report, operator: Operator, outcome: str, note: str) -> tuple[Event, ...]:
    """Settles the report; no event if this operator has settled it in the same way.

    Raises:
        NotFound: there is no such report.
        AlreadySettled: it was settled, by another operator or in another way.
    """
    if state.filed is None:
        raise NotFound("There is no such report.")
    settled = ReportSettled(operator_id=operator.user_id, operator=operator.username, outcome=outcome, note=note)
    if state.settlement is None:
        return (settled,)
    if state.settlement.event != settled:
        raise AlreadySettled
    return ()


def decide_expire(state: Report, now: datetime, keep: timedelta) -> tuple[Event, ...]:
    """Ends the showing of the texts `keep` after the settlement; no event before that time or afterwards."""
    if state.settlement is None or state.expired_at is not None or now < state.settlement.at + keep:
        return ()
    return (ReportExpired(),)


def _without_texts(state: Report, at: datetime) -> Report:
    filed = None if state.filed is None else msgspec.structs.replace(state.filed, comment="", messages=())
    return msgspec.structs.replace(state, filed=filed, expired_at=at)
