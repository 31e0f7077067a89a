from datetime import UTC, datetime, timedelta

from contracts.events.login_failure import FailureReason, LoginFailed
from services.auth.failures.domain import (
    ORIGINS,
    PAUSE,
    SINGLES,
    Failure,
    LoginFailures,
    Pending,
    decide_record,
    evolve_login_failures,
)

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def failure(
    at: datetime = NOON, *, address: str = "192.0.2.1", reason: FailureReason = "wrong_password", device: str = "phone"
) -> Failure:
    return Failure(reason=reason, address=address, device=device, at=at)


def pending(*failures: Failure) -> Pending:
    waiting = Pending()
    for failed_login in failures:
        waiting.add(failed_login)
    return waiting


def after(state: LoginFailures, events: tuple[LoginFailed, ...], at: datetime) -> LoginFailures:
    for event in events:
        state = evolve_login_failures(state, event, at)
    return state


def test_the_first_failures_of_an_hour_are_recorded_one_by_one_with_all_that_is_known() -> None:
    events, rest = decide_record(
        LoginFailures(), "anna", pending(failure(), failure(address="192.0.2.2", device="desk")), NOON
    )
    assert [(event.number, event.address, event.device, event.count, event.since) for event in events] == [
        (1, "192.0.2.1", "phone", 1, None),
        (2, "192.0.2.2", "desk", 1, None),
    ]
    assert {event.user_id for event in events} == {"anna"}
    assert not rest.total


def test_a_failure_that_waited_for_the_event_store_is_recorded_with_its_own_time() -> None:
    (event,), _ = decide_record(LoginFailures(), None, pending(failure()), NOON + timedelta(minutes=3))
    assert event.since == NOON


def test_further_failures_of_the_hour_wait_and_are_recorded_as_counts_per_address() -> None:
    state = LoginFailures(last_at=NOON, number=SINGLES)
    waiting = pending(failure(), failure(NOON + SECOND), failure(address="192.0.2.2"))
    events, rest = decide_record(state, "anna", waiting, NOON + SECOND)
    assert events == ()
    assert (rest.total, rest.resumes_at) == (3, NOON + PAUSE)
    events, rest = decide_record(state, "anna", rest, NOON + PAUSE)
    assert [(event.number, event.address, event.count, event.since) for event in events] == [
        (SINGLES + 1, "192.0.2.1", 2, NOON),
        (SINGLES + 2, "192.0.2.2", 1, NOON),
    ]
    assert not rest.total


def test_counted_failures_from_different_devices_name_none() -> None:
    state = LoginFailures(last_at=NOON, number=SINGLES)
    waiting = pending(failure(), failure(device="desk"))
    (event,), _ = decide_record(state, "anna", waiting, NOON + PAUSE)
    assert (event.count, event.device) == (2, "")


def test_a_stopping_process_records_its_counts_immediately() -> None:
    state = LoginFailures(last_at=NOON, number=SINGLES)
    (event,), rest = decide_record(state, "anna", pending(failure(), failure()), NOON + SECOND, final=True)
    assert event.count == 2
    assert not rest.total


def test_the_next_hour_begins_with_single_failures_again() -> None:
    state = LoginFailures(last_at=NOON + timedelta(minutes=59), number=SINGLES)
    (event,), _ = decide_record(state, "anna", pending(failure(NOON + timedelta(hours=1))), NOON + timedelta(hours=1))
    assert (event.number, event.count) == (1, 1)


def test_a_clock_that_is_behind_begins_no_second_hour() -> None:
    state = LoginFailures(last_at=NOON, number=SINGLES)
    events, rest = decide_record(state, "anna", pending(failure(NOON - SECOND)), NOON - SECOND)
    assert (events, rest.total) == ((), 1)


def test_a_flood_from_many_addresses_in_an_hour_causes_a_bounded_number_of_events_and_loses_no_failure() -> None:
    state, waiting, recorded = LoginFailures(), Pending(), list[LoginFailed]()
    for number in range(10_000):
        now = NOON + number * timedelta(hours=1) / 10_000
        waiting.add(failure(now, address=f"198.51.{number % 100}.{number // 100}"))
        assert len(waiting.singles) + len(waiting.counts) <= SINGLES + ORIGINS + 1
        if waiting.resumes_at is None or now >= waiting.resumes_at:
            events, waiting = decide_record(state, "anna", waiting, now)
            state = after(state, events, now)
            recorded += events
    assert len(recorded) <= SINGLES + 12 * (ORIGINS + 1)
    assert sum(event.count for event in recorded) + waiting.total == 10_000
    assert [event.number for event in recorded] == list(range(1, len(recorded) + 1))


def test_every_recorded_failure_has_the_term_that_the_installation_sets() -> None:
    state = LoginFailures(last_at=NOON, number=SINGLES - 1)
    waiting = pending(failure(), failure(), failure(address="192.0.2.2"))
    events, _ = decide_record(state, "anna", waiting, NOON + SECOND, final=True, keep_origins=PAUSE)
    assert [event.count for event in events] == [1, 1, 1]
    assert {event.origin_until for event in events} == {NOON + SECOND + PAUSE}
