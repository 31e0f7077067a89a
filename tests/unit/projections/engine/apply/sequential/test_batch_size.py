"""Batches grow while few rows are looked up, and shrink where they are many."""

from projections.engine.apply.sequential.batch_size import BatchSize


def sizes(*rows: int) -> list[int]:
    """The sizes that follow from full batches."""
    size, following = BatchSize(), []
    for number in rows:
        size.adapt(size.events, number)
        following.append(size.events)
    return following


def test_batches_grow_while_they_look_up_few_rows() -> None:
    assert sizes(0, 10, 1_000, 10_000, 12_000) == [4_000, 8_000, 16_000, 20_000, 20_000]


def test_batches_shrink_where_they_look_up_many_rows() -> None:
    assert sizes(60_000, 10_000, 60_000, 60_000, 60_000) == [1_000, 2_000, 1_000, 1_000, 1_000]


def test_batches_stay_as_they_are_in_between() -> None:
    assert sizes(20_000, 49_999) == [2_000, 2_000]


def test_few_events_do_not_let_batches_grow() -> None:
    size = BatchSize()
    for _ in range(10):
        size.adapt(100, 0)
    assert size.events == 2_000
    size.adapt(100, 60_000)
    assert size.events == 1_000
