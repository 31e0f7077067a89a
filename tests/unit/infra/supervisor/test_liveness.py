"""What counts as silence of a process: time that it could have used."""

import os

import pytest

from infra.supervisor.liveness import Reading, Silence, read_process


def silence_after(readings: list[Reading | None], passed: float = 0.5) -> float:
    following = iter(readings)
    silence = Silence(lambda: next(following))
    for _ in readings:
        silence.add(passed)
    return silence.seconds


@pytest.mark.parametrize("states", ["S", "T", "SSS", "TTT"])
def test_a_process_that_is_asleep_or_stopped_is_silent_all_the_time(states: str) -> None:
    assert silence_after([Reading(states, 1.0, 1.0)] * 10) == 5.0


def test_a_process_that_waits_for_processor_time_is_not_silent() -> None:
    """On a busy machine it gets one percent of the time."""
    assert silence_after([Reading("R", 0.005 * number, 0.005 * number) for number in range(1_000)]) == pytest.approx(
        4.995
    )


def test_a_process_whose_other_thread_waits_for_processor_time_is_not_silent() -> None:
    assert silence_after([Reading("SR", 0.005 * number, 0.0) for number in range(100)]) < 0.5


def test_a_loop_that_computes_without_end_is_silent_for_as_long_as_it_has_a_processor() -> None:
    assert silence_after([Reading("R", 0.5 * number, 0.5 * number) for number in range(11)]) == 5.0
    # Two threads use two processors.
    assert silence_after([Reading("RR", 1.0 * number, 0.5 * number) for number in range(11)]) == 5.0
    # It waits for a thread that computes.
    assert silence_after([Reading("SR", 0.5 * number, 0.0) for number in range(11)]) == 5.0


def test_a_main_thread_that_gets_no_processor_is_not_silent_while_another_thread_has_one() -> None:
    """As while passwords are hashed on a busy machine."""
    readings: list[Reading | None] = [Reading("RR", 0.5 * number, 0.005 * number) for number in range(100)]
    assert silence_after(readings) == pytest.approx(0.495)


def test_a_process_that_waits_for_the_disk_or_has_ended_is_not_silent() -> None:
    assert silence_after([Reading("D", 1.0, 1.0)] * 100) == 0.0
    assert silence_after([Reading("DR", 0.5 * number, 0.0) for number in range(100)]) == 0.0
    assert silence_after([None] * 100) == 0.0


def test_a_sign_of_life_begins_the_time_again() -> None:
    silence = Silence(lambda: Reading("S", 1.0, 1.0))
    silence.add(4.0)
    silence.end()
    assert silence.seconds == 0.0


def test_the_kernel_says_what_a_process_does() -> None:
    reading = read_process(os.getpid())
    assert reading is not None
    assert reading.states[0] == "R"
    assert reading.processor >= reading.main > 0
    assert read_process(2**22) is None
