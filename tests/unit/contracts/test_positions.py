"""Positions: vectors over the streams that travel as opaque text."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Invalid
from contracts.positions import Position
from contracts.subjects import STREAMS

positions = st.dictionaries(st.sampled_from(sorted(STREAMS)), st.integers(0, 2**63 - 1)).map(Position)


@given(positions)
def test_a_position_survives_the_way_through_its_text(position: Position) -> None:
    assert Position.decode(position.encode()) == position


@given(positions, positions)
def test_merging_sees_all_that_either_has_seen(one: Position, other: Position) -> None:
    merged = one.merge(other)
    assert all(merged.sequence(stream) == max(one.sequence(stream), other.sequence(stream)) for stream in STREAMS)


@given(positions, positions)
def test_a_position_covers_another_if_merging_adds_nothing(one: Position, other: Position) -> None:
    merged = one.merge(other)
    assert merged.covers(one)
    assert merged.covers(other)
    assert one.covers(other) == all(one.sequence(stream) == merged.sequence(stream) for stream in STREAMS)


@given(st.text(max_size=300))
def test_any_other_text_is_refused_or_a_position(text: str) -> None:
    with contextlib.suppress(Invalid):
        Position.decode(text)


@pytest.mark.parametrize("text", ["x", "e30=x", "bnVsbA", "eyJYIjoxfQ", "eyJBIjotMX0", "eyJBIjoiMSJ9", "ä", "A" * 400])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Position.decode(text)


def test_the_start_is_the_empty_text() -> None:
    assert Position().encode() == ""
    assert Position.decode("") == Position()


def test_every_stream_has_a_letter_of_its_own() -> None:
    whole = Position({stream: number for number, stream in enumerate(STREAMS, 1)})
    assert Position.decode(whole.encode()) == whole
