"""Given the alerts about an account, when an event wants another one, then it is recorded, covered, or waits."""

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from contracts.notification_kinds import ALERT_MAX_AGE, ALERTS_AN_HOUR, NEW_DEVICE, PASSWORD_CHANGED
from services.session.alerts.domain import Alerts, RecordAlert, decide_alert, evolve_alerts, is_due, wait_for_room

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def login(number: int, at: datetime, kind: str = NEW_DEVICE) -> RecordAlert:
    return RecordAlert(user_id="anna", kind=kind, about=f"event {number}", about_at=at, session_id="session")


def recorded(state: Alerts, command: RecordAlert, now: datetime) -> Alerts:
    for event in decide_alert(state, command, now):
        state = evolve_alerts(state, event, now)
    return state


def flooded() -> Alerts:
    """The alerts after one login a minute, as many as have room."""
    state = Alerts()
    for number in range(ALERTS_AN_HOUR):
        state = recorded(state, login(number, START + number * MINUTE), START + number * MINUTE)
    return state


def test_an_event_is_recorded_once_with_the_earlier_alerts() -> None:
    first = login(1, START)
    state = recorded(Alerts(), first, START)
    (event,) = decide_alert(state, login(2, START + MINUTE), START + MINUTE)
    assert (event.kind, event.about, event.session_id) == (NEW_DEVICE, "event 2", "session")
    assert [alert.about for alert in event.recent] == ["event 1"]
    assert decide_alert(state, first, START + HOUR) == ()
    assert wait_for_room(state, first, START) == timedelta()


def test_an_event_beyond_the_bound_waits_for_the_end_of_the_hour() -> None:
    state, now = flooded(), START + 10 * MINUTE
    late = login(10, now)
    assert decide_alert(state, late, now) == ()
    assert wait_for_room(state, late, now) == 50 * MINUTE
    state = recorded(state, late, START + HOUR)
    assert state.recent[-1].about == "event 10"


def test_a_later_alert_of_its_kind_covers_an_event_that_found_no_room() -> None:
    state = flooded()
    earlier = login(10, START + MINUTE)
    assert decide_alert(state, earlier, START + 3 * MINUTE) == ()
    assert wait_for_room(state, earlier, START + 3 * MINUTE) == timedelta()


def test_of_events_that_are_late_one_has_an_alert_that_covers_the_others() -> None:
    now = START + 5 * HOUR
    state = recorded(Alerts(), login(1, START), now)
    assert [alert.about for alert in state.recent] == ["event 1"]
    for number in (2, 3):
        late = login(number, START + number * MINUTE)
        assert decide_alert(state, late, now) == ()
        assert wait_for_room(state, late, now) == timedelta()
    assert decide_alert(state, login(4, now), now)


def test_other_kinds_have_room_of_their_own() -> None:
    assert decide_alert(flooded(), login(10, START + 3 * MINUTE, PASSWORD_CHANGED), START + 3 * MINUTE)


def test_an_event_of_last_week_is_not_due() -> None:
    assert is_due(login(1, START), START + ALERT_MAX_AGE)
    assert not is_due(login(1, START), START + ALERT_MAX_AGE + MINUTE)


@given(st.lists(st.integers(min_value=0, max_value=5 * 24 * 60), min_size=1, max_size=300))
def test_no_flood_makes_an_event_larger_than_a_few_kilobytes(minutes: list[int]) -> None:
    state = Alerts()
    for number, minute in enumerate(sorted(minutes)):
        now = START + minute * MINUTE
        state = recorded(state, login(number, now), now)
    assert len(state.recent) <= 41
    assert len(msgspec.json.encode(state)) < 8_192


@given(st.lists(st.integers(min_value=0, max_value=24 * 60), min_size=1, max_size=100))
def test_every_event_has_an_alert_that_was_recorded_after_it_happened(minutes: list[int]) -> None:
    """However many there are, and however late each one is judged again."""
    state, now = Alerts(), START
    waiting = [login(number, START + minute * MINUTE) for number, minute in enumerate(sorted(minutes))]
    events = list(waiting)
    while waiting:
        now = max(now, waiting[0].about_at)
        state = recorded(state, waiting[0], now)
        wait = wait_for_room(state, waiting[0], now)
        if wait:
            now += wait
        else:
            waiting.pop(0)
    assert all(any(alert.at >= event.about_at for alert in state.recent) for event in events)
