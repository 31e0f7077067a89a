"""Positions: vectors over the streams that travel as opaque text."""

import binascii
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Invalid
from contracts.notification_kinds import NOTIFIED_CONTACT, NOTIFIED_MESSAGING, NOTIFIED_SESSION
from contracts.positions import CODES, Position
from contracts.subjects import STREAMS

positions = st.dictionaries(st.sampled_from(sorted(CODES)), st.integers(0, 2**63 - 1)).map(Position)


@given(positions)
def test_a_position_survives_encoding_and_decoding(position: Position) -> None:
    assert Position.decode(position.encode()) == position


@given(positions, positions)
def test_a_merged_position_has_the_later_sequence_of_each_stream(one: Position, other: Position) -> None:
    merged = one.merge(other)
    assert all(merged.sequence(stream) == max(one.sequence(stream), other.sequence(stream)) for stream in CODES)


@given(positions, positions)
def test_a_position_covers_another_if_merging_adds_nothing(one: Position, other: Position) -> None:
    merged = one.merge(other)
    assert merged.covers(one)
    assert merged.covers(other)
    assert one.covers(other) == all(one.sequence(stream) == merged.sequence(stream) for stream in CODES)


@given(st.text(max_size=300))
def test_any_other_text_is_refused_or_a_position(text: str) -> None:
    with contextlib.suppress(Invalid):
        Position.decode(text)


@pytest.mark.parametrize("text", ["x", "e30=x", "bnVsbA", "eyJBIjotMX0", "eyJBIjoiMSJ9", "ä", "A" * 400])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Position.decode(text)


def test_the_start_is_the_empty_text() -> None:
    assert Position().encode() == ""
    assert Position.decode("") == Position()


def test_every_entry_has_a_code_of_its_own_of_one_character() -> None:
    assert CODES.keys() == {*STREAMS, NOTIFIED_CONTACT, NOTIFIED_MESSAGING, NOTIFIED_SESSION}
    assert len(set(CODES.values())) == len(CODES)
    assert {len(code) for code in CODES.values()} == {1}


def test_the_largest_position_can_be_read() -> None:
    largest = Position(dict.fromkeys(CODES, 2**63 - 1))
    assert Position.decode(largest.encode()) == largest


def test_a_position_that_clients_hold_stays_valid() -> None:
    encoded = "eyJBIjoxLCJDIjoyLCJjIjozLCJNIjo0LCJtIjo1LCJPIjo2LCJQIjo3LCJTIjo4fQ"
    entries = ("AUTH", "CONTACT", NOTIFIED_CONTACT, "MESSAGING", NOTIFIED_MESSAGING, "OPERATOR", "PROFILE", "SESSION")
    position = Position({entry: number for number, entry in enumerate(entries, 1)})
    assert Position.decode(encoded) == position
    assert position.encode() == encoded


def as_text(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).rstrip(b"=").decode()


def test_an_entry_of_a_later_release_is_left_out() -> None:
    assert Position.decode(as_text(b'{"A":1,"Z":2}')) == Position({"AUTH": 1})
    many = ",".join(f'"{code}":{2**63 - 1}' for code in [*CODES.values(), "x", "y", "z"])
    assert Position.decode(as_text(f"{{{many}}}".encode())) == Position(dict.fromkeys(CODES, 2**63 - 1))


@pytest.mark.parametrize(
    "entry", ['"":2', '"AA":2', '"7":2', '"Ж":2', '"Z":-1', '"Z":9223372036854775808', '"Z":"2"', '"Z":2.5', '"Z":null']
)
def test_an_unknown_entry_that_no_release_writes_is_refused(entry: str) -> None:
    with pytest.raises(Invalid, match="is not valid"):
        Position.decode(as_text(f'{{"A":1,{entry}}}'.encode()))
