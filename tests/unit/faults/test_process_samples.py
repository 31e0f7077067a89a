import os

from tests.faults import process_samples


def test_a_sample_shows_memory_and_open_files() -> None:
    sample = process_samples.take("this", os.getpid())
    assert sample is not None
    assert sample.resident_bytes > 2**20
    with open(os.devnull):
        second = process_samples.take("this", os.getpid())
    assert second is not None
    assert second.open_files == sample.open_files + 1


def test_there_is_no_sample_of_a_process_that_has_ended() -> None:
    assert process_samples.take("none", 2**22 + 1) is None
