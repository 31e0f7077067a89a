"""Time to recovery, from histories that are made up."""

from collections.abc import Sequence

import pytest

from tests.faults.checker.finding import Finding
from tests.faults.history import Fault, History, Outcome, Record, Request
from tests.faults.recovery import Recoveries, Recovery, Tally


def recoveries(*records: Record, findings: Sequence[Finding] = ()) -> list[Recovery]:
    history = History(records)
    steps = Recoveries(history.of(Fault))
    steps.add(history, findings)
    return steps.steps


def attempt(name: str, started: float, ended: float, outcome: Outcome = Outcome.OK) -> Request:
    return Request(
        client="anna rest",
        user_id="anna",
        operation="send",
        arguments={"client_message_id": name},
        started=started,
        ended=ended,
        outcome=outcome,
    )


def fault(name: str, begun: float, ended: float, step: int = 1, *, is_outage: bool = False) -> Fault:
    return Fault(name=name, targets=["nats-1"], begun=begun, ended=ended, step=step, is_outage=is_outage)


def test_a_message_that_waits_through_its_repetitions_is_the_time_to_recovery() -> None:
    (recovery,) = recoveries(
        fault("kill", 10.0, 12.0),
        attempt("a", 9.0, 9.1),
        attempt("b", 11.0, 13.0, Outcome.UNKNOWN),
        attempt("b", 13.2, 16.5),
        attempt("c", 17.0, 17.1),
    )
    assert recovery.seconds == pytest.approx(5.5)
    assert (recovery.acknowledged, recovery.failed) == (2, 1)


def test_a_message_that_was_sent_before_a_fault_waits_from_its_begin() -> None:
    (recovery,) = recoveries(fault("kill", 10.0, 12.0), attempt("a", 9.5, 11.0))
    assert recovery.seconds == pytest.approx(1.0)


def test_what_waits_during_an_outage_counts_from_its_end() -> None:
    (recovery,) = recoveries(
        fault("majority_apart", 10.0, 30.0, is_outage=True), attempt("a", 12.0, 33.0), attempt("b", 34.0, 35.5)
    )
    assert recovery.seconds == pytest.approx(3.0)


def test_a_message_that_is_given_up_waits_to_the_end_of_its_last_attempt() -> None:
    attempts = [attempt("a", 11.0, 13.0, Outcome.UNKNOWN), attempt("a", 13.5, 20.0, Outcome.UNKNOWN)]
    (recovery,) = recoveries(fault("kill", 10.0, 12.0), *attempts)
    assert recovery.seconds == pytest.approx(9.0)
    assert (recovery.acknowledged, recovery.failed) == (0, 2)


def test_a_message_that_is_refused_waits_no_longer() -> None:
    messages = [attempt("a", 11.0, 12.5, Outcome.REFUSED), attempt("b", 11.0, 11.5)]
    (recovery,) = recoveries(fault("kill", 10.0, 12.0), *messages)
    assert recovery.seconds == pytest.approx(1.5)
    assert (recovery.acknowledged, recovery.failed) == (1, 0)


def test_each_step_has_its_own_messages() -> None:
    first, second = recoveries(
        fault("freeze", 50.0, 51.0, step=2),
        fault("kill", 10.0, 12.0, step=1),
        attempt("a", 11.0, 14.0),
        attempt("b", 50.5, 52.5),
    )
    assert (first.faults, first.step) == (("kill",), 1)
    assert (second.faults, second.step) == (("freeze",), 2)
    assert [first.seconds, second.seconds] == pytest.approx([3.0, 2.0])


def test_the_faults_of_a_pair_are_one_step() -> None:
    (recovery,) = recoveries(fault("kill", 10.0, 12.0), fault("freeze", 11.0, 20.0), attempt("a", 11.5, 15.0))
    assert recovery.faults == ("freeze", "kill")
    assert recovery.seconds == pytest.approx(3.5)


def test_a_step_without_traffic_has_no_wait() -> None:
    (recovery,) = recoveries(fault("kill", 10.0, 12.0))
    assert (recovery.seconds, recovery.acknowledged) == (0.0, 0)


def test_the_parts_of_a_history_add_up() -> None:
    steps = Recoveries([fault("kill", 10.0, 12.0)])
    for name, ended in (("a", 12.0), ("b", 15.0), ("c", 13.0)):
        steps.add(History([attempt(name, 11.0, ended)]))
    (recovery,) = steps.steps
    assert recovery.seconds == pytest.approx(4.0)
    assert recovery.acknowledged == 3


def test_what_was_found_about_a_moment_counts_for_the_fault_of_that_moment() -> None:
    findings = [
        Finding("messages.lost", "", 11.0),
        Finding("live.doubled", "", 30.0),
        Finding("answers.wrong_status", "", 51.0),
        Finding("messages.lost", "", 45.0),
        Finding("live.missed", ""),
    ]
    first, second = recoveries(fault("kill", 10.0, 12.0), fault("freeze", 50.0, 51.0, step=2), findings=findings)
    assert first.found == Tally(lost=1, doubled=1)
    assert second.found == Tally(wrong=1)


def test_what_a_message_waits_after_the_next_fault_has_begun_is_the_next_ones() -> None:
    first, second = recoveries(
        fault("kill", 10.0, 12.0, step=1),
        fault("freeze", 20.0, 40.0, step=2),
        attempt("a", 19.0, 35.0),
    )
    assert [first.seconds, second.seconds] == pytest.approx([1.0, 15.0])
