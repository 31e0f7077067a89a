"""The minimum size of a batch follows from the measured costs of batches and of single events."""

import pytest

from streams.batching.batch_threshold import CHEAP, FEW, FIRST, LEAST, MOST, TRIED, BatchThreshold


def threshold_after(batches: list[float], singles: list[float]) -> BatchThreshold:
    threshold = BatchThreshold()
    for seconds in batches:
        threshold.batch(seconds)
    for seconds in singles:
        threshold.single(seconds)
    return threshold


@pytest.mark.parametrize(
    ("batches", "singles"), [([], []), ([0.001] * TRIED, []), ([], [0.001]), ([0.1] * (TRIED - 1), [0.001])]
)
def test_batches_are_tried_until_the_costs_are_known(batches: list[float], singles: list[float]) -> None:
    threshold = threshold_after(batches, singles)
    assert (threshold.minimum, threshold.singles) == (FIRST, FEW)


@pytest.mark.parametrize(
    ("batch", "single", "fewest"),
    [(0.002, 0.0004, 5), (0.0021, 0.0004, 6), (0.003, 0.0001, MOST), (0.0003, 0.0003, LEAST), (0.0001, 0.1, LEAST)],
)
def test_it_is_as_many_as_cost_the_same_one_by_one_within_bounds(batch: float, single: float, fewest: int) -> None:
    assert threshold_after([batch] * TRIED, [single]).minimum == fewest


@pytest.mark.parametrize(
    ("batch", "single", "at_once"),
    [(0.0003, 0.0003, FEW), (0.002, 0.0004, FEW), (0.0021, 0.0004, CHEAP + 1), (0.003, 0.0001, MOST)],
)
def test_where_batches_are_cheap_few_single_appends_are_sent_at_once(batch: float, single: float, at_once: int) -> None:
    assert threshold_after([batch] * TRIED, [single]).singles == at_once


def test_single_events_that_were_in_flight_together_have_shared_their_time() -> None:
    threshold = threshold_after([0.002] * TRIED, [])
    for _ in range(10):
        threshold.single(0.004, in_flight=10)
    assert threshold.minimum == 5


def test_outliers_do_not_count() -> None:
    assert threshold_after([0.9, 0.002, *[0.5] * TRIED], [0.0004, 2.0, 0.7]).minimum == 5


def test_a_cost_that_has_changed_is_the_new_one_after_a_while() -> None:
    threshold = threshold_after([0.001] * TRIED, [0.0003])
    assert threshold.minimum == 4
    for _ in range(100):
        threshold.batch(0.0025)
    assert threshold.minimum == 9
