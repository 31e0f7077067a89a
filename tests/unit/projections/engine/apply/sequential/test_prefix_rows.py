"""Looked-up rows are returned in the order of their keys, with the last change applied."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from projections.engine.apply.sequential.prefix_rows import PrefixRows


class Frozen(msgspec.Struct, frozen=True):
    number: int
    text: str


class Open(msgspec.Struct):
    number: int


_step = st.tuples(st.sampled_from(["put", "put", "remove", "frozen", "open"]), st.integers(0, 5), st.integers(0, 9))


@given(st.lists(_step, max_size=40))
def test_rows_are_those_of_a_sorted_dict_after_any_steps(steps: list[tuple[str, int, int]]) -> None:
    rows, expected = PrefixRows({}), dict[tuple[str, str], int]()
    for step, suffix, number in steps:
        key = ("a", str(suffix))
        if step == "put":
            expected[key] = number
            rows.put(key, {"number": number, "text": str(suffix), "other": None})
        elif step == "remove":
            expected.pop(key, None)
            rows.remove(key)
        elif step == "frozen":
            frozen = rows.of_type(Frozen, is_immutable=True)
            assert frozen == [Frozen(expected[row_key], str(row_key[1])) for row_key in sorted(expected)]
            frozen.clear()
        else:
            mutable = rows.of_type(Open, is_immutable=False)
            assert mutable == [Open(expected[row_key]) for row_key in sorted(expected)]
            for row in mutable:
                assert isinstance(row, Open)
                row.number = -1
    assert set(rows) == expected.keys()


def test_only_a_changed_row_is_converted_again() -> None:
    rows = PrefixRows({})
    for number in range(3):
        rows.put((number,), {"number": number, "text": ""})
    before = rows.of_type(Frozen, is_immutable=True)
    rows.put((1,), {"number": 7, "text": ""})
    after = rows.of_type(Frozen, is_immutable=True)
    assert [one is other for one, other in zip(before, after, strict=True)] == [True, False, True]
