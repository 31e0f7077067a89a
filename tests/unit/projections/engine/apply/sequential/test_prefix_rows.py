"""Looked-up rows are given in the order of their keys, and as the last change left them."""

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
def test_any_steps_give_the_rows_of_a_sorted_dict(steps: list[tuple[str, int, int]]) -> None:
    rows, plain = PrefixRows({}), dict[tuple[str, str], int]()
    for step, part, number in steps:
        key = ("a", str(part))
        if step == "put":
            plain[key] = number
            rows.put(key, {"number": number, "text": str(part), "other": None})
        elif step == "remove":
            plain.pop(key, None)
            rows.remove(key)
        elif step == "frozen":
            frozen = rows.of_type(Frozen, is_immutable=True)
            assert frozen == [Frozen(plain[known], str(known[1])) for known in sorted(plain)]
            frozen.clear()
        else:
            opened = rows.of_type(Open, is_immutable=False)
            assert opened == [Open(plain[known]) for known in sorted(plain)]
            for row in opened:
                assert isinstance(row, Open)
                row.number = -1
    assert set(rows) == plain.keys()


def test_only_a_changed_row_is_converted_again() -> None:
    rows = PrefixRows({})
    for number in range(3):
        rows.put((number,), {"number": number, "text": ""})
    before = rows.of_type(Frozen, is_immutable=True)
    rows.put((1,), {"number": 7, "text": ""})
    after = rows.of_type(Frozen, is_immutable=True)
    assert [one is other for one, other in zip(before, after, strict=True)] == [True, False, True]
