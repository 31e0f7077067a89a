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
    assert silence_after([Reading(states, 1.0)] * 10) == 5.0


def test_a_process_that_waits_for_processor_time_is_not_silent() -> None:
    """On a busy machine it gets one percent of the time."""
    assert silence_after([Reading("R", 0.005 * number) for number in range(1_000)]) == pytest.approx(4.995)


def test_nor_is_one_whose_main_thread_waits_for_another_that_does() -> None:
    assert silence_after([Reading("SR", 0.005 * number) for number in range(100)]) < 0.5


def test_a_loop_that_computes_without_end_is_silent_for_as_long_as_it_has_a_processor() -> None:
    assert silence_after([Reading("R", 0.5 * number) for number in range(11)]) == 5.0
    # Two threads use two processors.
    assert silence_after([Reading("RR", 1.0 * number) for number in range(11)]) == 5.0


def test_a_process_that_waits_for_the_disk_or_has_ended_is_not_silent() -> None:
    assert silence_after([Reading("D", 1.0)] * 100) == 0.0
    assert silence_after([None] * 100) == 0.0


def test_a_sign_of_life_begins_the_time_again() -> None:
    silence = Silence(lambda: Reading("S", 1.0))
    silence.add(4.0)
    silence.end()
    assert silence.seconds == 0.0


def test_the_kernel_says_what_a_process_does() -> None:
    reading = read_process(os.getpid())
    assert reading is not None
    assert reading.states[0] == "R"
    assert reading.processor > 0
    assert read_process(2**22) is None
