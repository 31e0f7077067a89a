"""The alerts about one account and the decision whether one more is due, without I/O.

Each event causes at most one alert. Those of a kind are bounded per hour and day, since somebody who knows a password
can cause any number of them. An event beyond the bound is covered by an alert of its kind that was recorded after it
happened; without one it waits. So the newest event always has an alert recorded after it, and the state stays small.
An event that is more than an hour old is covered even where there is room: a late reaction records one alert, not many.
"""

from datetime import datetime, timedelta

import msgspec

from contracts.events.event import Event
from contracts.events.session import AccountAlerted, PastAlert
from contracts.notification_kinds import ALERT_MAX_AGE, ALERTS_AN_HOUR

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_ALERTS_A_DAY = 10
# Every event that can still cause an alert finds the ones before it.
_KEPT = ALERT_MAX_AGE + _HOUR


class Alerts(msgspec.Struct, frozen=True, kw_only=True):
    # Of the last days, oldest first.
    recent: tuple[PastAlert, ...] = ()

    def of_kind(self, kind: str, since: datetime) -> list[PastAlert]:
        return [alert for alert in self.recent if alert.kind == kind and alert.at >= since]


class RecordAlert(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    kind: str
    # The event that caused it, and when.
    about: str
    about_at: datetime
    session_id: str | None = None


def evolve_alerts(state: Alerts, event: Event, at: datetime) -> Alerts:
    """Derives the state from the last event alone."""
    if not isinstance(event, AccountAlerted):
        return state
    return Alerts(recent=(*event.recent, PastAlert(kind=event.kind, about=event.about, at=at)))


def is_due(command: RecordAlert, now: datetime) -> bool:
    return now - command.about_at <= ALERT_MAX_AGE


def decide_alert(state: Alerts, command: RecordAlert, now: datetime) -> tuple[AccountAlerted, ...]:
    """Records the alert; no event if it is recorded already or has no room now."""
    late = now - command.about_at > _HOUR
    if any(alert.about == command.about or (late and _covers(alert, command)) for alert in state.recent):
        return ()
    if _room_from(state, command.kind, now) > now:
        return ()
    return (
        AccountAlerted(
            user_id=command.user_id,
            kind=command.kind,
            about=command.about,
            session_id=command.session_id,
            recent=tuple(alert for alert in state.recent if now - alert.at < _KEPT),
        ),
    )


def wait_for_room(state: Alerts, command: RecordAlert, now: datetime) -> timedelta:
    """Returns how long the event has to wait for an alert of its own; zero if it has one, or a later one covers it."""
    if any(alert.about == command.about or _covers(alert, command) for alert in state.recent):
        return timedelta()
    return max(_room_from(state, command.kind, now) - now, timedelta())


def _covers(alert: PastAlert, command: RecordAlert) -> bool:
    return alert.kind == command.kind and alert.at >= command.about_at


def _room_from(state: Alerts, kind: str, now: datetime) -> datetime:
    """Returns when an alert of the kind has room."""
    hour, day = state.of_kind(kind, now - _HOUR), state.of_kind(kind, now - _DAY)
    full_hour = hour[-ALERTS_AN_HOUR].at + _HOUR if len(hour) >= ALERTS_AN_HOUR else now
    full_day = day[-_ALERTS_A_DAY].at + _DAY if len(day) >= _ALERTS_A_DAY else now
    return max(full_hour, full_day, now)
