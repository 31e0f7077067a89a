"""Gaps are joined, named, and left out where an operator has accepted them."""

from datetime import UTC, datetime

from streams.loss.missing_events import Accepted, Gap, accepted, by_stream, named, unaccepted

AT = datetime(2026, 1, 31, tzinfo=UTC)


def gaps(*texts: str) -> list[Gap]:
    parsed = []
    for text in texts:
        stream, _, numbers = text.partition(":")
        first, _, last = numbers.partition("-")
        parsed.append(Gap(stream, int(first), int(last or first)))
    return parsed


def decided(*ranges: tuple[int, int]) -> list[Accepted]:
    return [Accepted(first, last, AT, "an operator") for first, last in ranges]


def test_a_gap_is_written_as_an_operator_writes_it() -> None:
    assert [str(gap) for gap in gaps("A:7", "A:7-9")] == ["A:7", "A:7-9"]
    assert [len(gap) for gap in gaps("A:7", "A:7-9")] == [1, 3]


def test_gaps_that_touch_or_overlap_are_one() -> None:
    joined = by_stream(gaps("B:1", "A:5-9", "A:1-3", "A:4", "A:7-20", "A:30"))
    assert joined == {"A": gaps("A:1-20", "A:30"), "B": gaps("B:1")}
    assert by_stream(gaps("A:1-20", "A:3-4")) == {"A": gaps("A:1-20")}


def test_accepted_losses_are_left_out_also_from_within_a_gap() -> None:
    known = {"A": decided((1, 2), (5, 6), (9, 30))}
    assert unaccepted(gaps("A:1-10", "B:1"), known) == gaps("A:3-4", "A:7-8", "B:1")
    assert unaccepted(gaps("A:5", "A:9-30"), known) == []


def test_many_gaps_are_named_by_their_first_ones() -> None:
    many = [Gap("A", sequence, sequence) for sequence in range(1, 40, 2)]
    assert named(many[:2]) == "A:1, A:3"
    assert named(many).endswith("A:19 and 10 more gaps")


def test_settings_without_a_decision_have_none() -> None:
    assert accepted({}) == []
    assert accepted({"metadata": {"other": "x"}}) == []
