"""The minimum size of a batch follows from the measured costs of batches and of single events."""

import pytest

from streams.batching.batch_threshold import CHEAP, FEW, FIRST, LEAST, MOST, TRIED, BatchThreshold


def priced(batches: list[float], singles: list[float]) -> BatchThreshold:
    price = BatchThreshold()
    for seconds in batches:
        price.batch(seconds)
    for seconds in singles:
        price.single(seconds)
    return price


@pytest.mark.parametrize(
    ("batches", "singles"), [([], []), ([0.001] * TRIED, []), ([], [0.001]), ([0.1] * (TRIED - 1), [0.001])]
)
def test_batches_are_tried_until_the_costs_are_known(batches: list[float], singles: list[float]) -> None:
    price = priced(batches, singles)
    assert (price.minimum, price.singles) == (FIRST, FEW)


@pytest.mark.parametrize(
    ("batch", "single", "fewest"),
    [(0.002, 0.0004, 5), (0.0021, 0.0004, 6), (0.003, 0.0001, MOST), (0.0003, 0.0003, LEAST), (0.0001, 0.1, LEAST)],
)
def test_it_is_as_many_as_cost_the_same_one_by_one_within_bounds(batch: float, single: float, fewest: int) -> None:
    assert priced([batch] * TRIED, [single]).minimum == fewest


@pytest.mark.parametrize(
    ("batch", "single", "at_once"),
    [(0.0003, 0.0003, FEW), (0.002, 0.0004, FEW), (0.0021, 0.0004, CHEAP + 1), (0.003, 0.0001, MOST)],
)
def test_where_batches_are_cheap_few_single_appends_are_sent_at_once(batch: float, single: float, at_once: int) -> None:
    assert priced([batch] * TRIED, [single]).singles == at_once


def test_single_events_that_were_in_flight_together_have_shared_their_time() -> None:
    price = priced([0.002] * TRIED, [])
    for _ in range(10):
        price.single(0.004, in_flight=10)
    assert price.minimum == 5


def test_what_else_there_was_to_do_does_not_count() -> None:
    assert priced([0.9, 0.002, *[0.5] * TRIED], [0.0004, 2.0, 0.7]).minimum == 5


def test_a_price_that_has_changed_is_the_new_one_after_a_while() -> None:
    price = priced([0.001] * TRIED, [0.0003])
    assert price.minimum == 4
    for _ in range(100):
        price.batch(0.0025)
    assert price.minimum == 9
