"""Merging the row changes of a batch gives the rows that its events give one by one."""

from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.engine.apply.merging.call_plans import Resolved
from projections.engine.apply.merging.change_plans import Shapes
from projections.engine.apply.merging.row_merging import MergedRows
from projections.engine.changes import MergeRule, RowAction, RowChanges, less_than
from projections.engine.storage.pg_text import UnsupportedValue
from projections.engine.storage.tables import Table
from tests.row_model import TABLE, Call, Model, calls, say

TABLES = {
    "people": Table(
        "people",
        "people_v1_b1",
        ("id",),
        {"id": "bigint", "a": "bigint", "b": "bigint", "name": "text", "extra": "jsonb"},
    ),
    "prices": Table(
        "prices",
        "prices_v1_b1",
        ("id",),
        {"id": "bigint", "a": "bigint", "day": "date", "price": "numeric"},
        rounded=frozenset({"price"}),
    ),
}
ROWS = {"rows": TABLE}


@given(st.lists(calls(), max_size=12))
def test_merged_changes_end_in_the_state_of_single_changes(drawn_calls: list[Call]) -> None:
    rows, singly, folded = MergedRows(Shapes(ROWS)), Model(), Model()
    for call in drawn_calls:
        write = RowChanges()
        say(write, call)
        rows.merge(write.changes)
        singly.apply(*call)
    for group in rows.groups():
        assert len(set(group.keys)) == len(group.keys)
        folded.apply_group(group)
    assert folded.rows == singly.rows


def test_many_changes_of_one_row_become_one() -> None:
    rows, write = MergedRows(Shapes(TABLES)), RowChanges()
    for number in range(1_000):
        write.upsert("people", key={"id": 1}, add={"a": 1}, greatest={"b": number})
    rows.merge(write.changes)
    (group,) = rows.groups()
    assert group.shape.columns == (("a", MergeRule.ADD), ("b", MergeRule.GREATEST))
    assert (group.keys, group.values) == ([(1,)], [(1_000, 999)])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda write: write.upsert("animals", key={"id": 1}),
        lambda write: write.upsert("people", key={"name": 1}),
        lambda write: write.upsert("people", key={"id": 1, "a": 2}),
        lambda write: write.upsert("people", key={"id": None}),
        lambda write: write.upsert("people", key={"id": "one"}),
        lambda write: write.upsert("people", key={"id": 1}, set={"c": 1}),
        lambda write: write.upsert("people", key={"id": 1}, add={"a": 0.5}),
        lambda write: write.upsert("people", key={"id": 1}, add={"a": None}),
        lambda write: write.upsert("people", key={"id": 1}, greatest={"a": "text"}),
        lambda write: write.upsert("people", key={"id": 1}, greatest={"a": float("nan")}),
        lambda write: write.upsert("people", key={"id": 1}, greatest={"name": 1}),
        lambda write: write.upsert("people", key={"id": 1}, greatest_by=({"a": 1}, {"id": 1})),
        lambda write: write.upsert("people", key={"id": 1}, greatest_by=({"a": None}, {"b": 1})),
        lambda write: write.upsert("people", key={"id": 1}, greatest_by=({}, {"b": 1})),
        lambda write: write.upsert("people", key={"id": 1}, greatest_by=({"a": 1}, {"b": 1}), set={"b": 1}),
        lambda write: write.upsert("people", key={"id": 1}, least_by=({"name": 1}, {"b": 1})),
        lambda write: write.upsert("people", key={"id": 1}, least_by=({"extra": "x"}, {"b": 1})),
        lambda write: write.upsert("people", key={"id": 1}, greatest_by=({"a": Decimal("1.5")}, {"b": 1})),
        lambda write: write.upsert("prices", key={"id": 1}, greatest_by=({"day": datetime.now(UTC)}, {"a": 1})),
        lambda write: write.upsert("prices", key={"id": 1}, least_by=({"price": Decimal(1)}, {"a": 1})),
        lambda write: write.update("people", key={"id": 1}, set={"a": 1}, where={"id": 1}),
        lambda write: write.update("people", key={"id": 1}, set={"a": 1}, where={"c": 1}),
        lambda write: write.update("people", key={"id": 1}, set={"a": 1}, where={"a": "1"}),
        lambda write: write.update("people", key={"id": 1}, set={"a": 1}, where={"a": less_than(None)}),
        lambda write: write.delete("people", key={"id": 1}, where={"extra": "{}"}),
        lambda write: write.delete_all("people", key={}),
        lambda write: write.delete_all("people", key={"a": 1}),
        lambda write: write.delete("people", key={"id": datetime(2026, 1, 1)}),  # noqa: DTZ001 - has no zone
    ],
)
def test_a_change_that_fits_no_table_leaves_nothing_behind(wrong: Any) -> None:  # noqa: ANN401 - a parameter
    rows, write = MergedRows(Shapes(TABLES)), RowChanges()
    write.upsert("people", key={"id": 7}, set={"a": 1})
    wrong(write)
    with pytest.raises(UnsupportedValue):
        rows.merge(write.changes)
    assert rows.groups() == []


@pytest.mark.parametrize(("column", "why"), [("id", "a part of its key"), ("c", "not one of its columns")])
def test_a_refused_column_is_reported_with_its_reason(column: str, why: str) -> None:
    write = RowChanges()
    write.upsert("people", key={"id": 1}, set={column: 2})
    with pytest.raises(UnsupportedValue, match=f"people: {column} cannot be written, since it is {why}"):
        MergedRows(Shapes(TABLES)).merge(write.changes)


def test_the_text_of_the_latest_message_takes_one_write_a_batch() -> None:
    rows, write = MergedRows(Shapes(TABLES)), RowChanges()
    for number in (1, 3, 2, 3):
        write.upsert("people", key={"id": 1}, greatest_by=({"a": number}, {"name": f"{number}, {len(write.changes)}"}))
    rows.merge(write.changes)
    (group,) = rows.groups()
    assert group.values == [(3, "3, 3")]


def test_the_columns_that_decide_do_so_in_the_order_in_which_they_are_named() -> None:
    shapes = Shapes(TABLES)
    for columns in (("a", "b"), ("b", "a"), ("a", "b")):
        write = RowChanges()
        write.upsert("people", key={"id": 1}, least_by=(dict.fromkeys(columns, 1), {}))
        ((shape, _, _),) = shapes.resolve(write.changes, "usual")
        assert tuple(column for column, _ in shape.columns) == columns


def test_a_deletion_by_a_part_of_the_key_does_not_visit_rows_deleted_earlier() -> None:
    rows = MergedRows(Shapes(ROWS))
    for number in range(3_000):
        write = RowChanges()
        write.upsert("rows", key={"a": 1, "b": number}, set={"number": 1})
        write.delete_all("rows", key={"a": 1})
        rows.merge(write.changes)
    delete_all, deletions = rows.groups()
    assert (delete_all.shape.action, delete_all.keys) == (RowAction.DELETE_ALL, [(1,)])
    assert (deletions.shape.action, len(deletions.keys)) == (RowAction.DELETE, 3_000)


def test_keys_that_mean_the_same_are_one_row() -> None:
    hours = {"hours": Table("hours", "hours_v1_b1", ("at",), {"at": "timestamp with time zone", "n": "bigint"})}
    rows, write = MergedRows(Shapes(hours)), RowChanges()
    moment = datetime(2026, 1, 1, 12, tzinfo=UTC)
    write.upsert("hours", key={"at": moment}, add={"n": 1})
    write.upsert("hours", key={"at": moment.astimezone()}, add={"n": 1})
    rows.merge(write.changes)
    (group,) = rows.groups()
    assert group.values == [(2,)]


def test_a_day_that_is_given_as_a_time_is_the_same_row() -> None:
    days = {"days": Table("days", "days_v1_b1", ("day",), {"day": "date", "n": "bigint"})}
    rows, write = MergedRows(Shapes(days)), RowChanges()
    for moment in (datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 23, tzinfo=UTC), date(2026, 1, 1)):
        write.upsert("days", key={"day": moment}, add={"n": 1})
    rows.merge(write.changes)
    (group,) = rows.groups()
    assert (group.keys, group.values) == ([("2026-01-01",)], [(3,)])


def test_a_sum_of_many_digits_is_exact_or_is_left_to_the_database() -> None:
    sums = {"sums": Table("sums", "sums_v1_b1", ("id",), {"id": "bigint", "n": "numeric"})}
    for number in (Decimal(10**40), Decimal("1e2000")):
        rows, write = MergedRows(Shapes(sums)), RowChanges()
        for added in (number, 1, Decimal("0.1")):
            write.upsert("sums", key={"id": 1}, add={"n": added})
        rows.merge(write.changes)
        written = [Decimal(str(value)) for group in rows.groups() for (value,) in group.values]
        with localcontext(prec=3_000):
            assert sum(written) == number + Decimal("1.1")
    assert len(written) == 2


@given(st.lists(st.tuples(st.sampled_from(["sent", "seen"]), st.lists(calls(), max_size=4)), max_size=8))
def test_changes_of_earlier_events_do_not_affect_how_changes_are_resolved(events: list[tuple[str, list[Call]]]) -> None:
    usual = Shapes(ROWS)
    for kind, event_calls in events:
        write = RowChanges()
        for call in event_calls:
            say(write, call)
        assert [_named(resolved) for resolved in usual.resolve(write.changes, kind)] == [
            _named(resolved) for change in write.changes for resolved in Shapes(ROWS).resolve([change])
        ]


def _named(resolved: Resolved) -> tuple[object, ...]:
    """A resolved change with its values by column, in any order."""
    shape, key, values = resolved
    written = dict(zip([*shape.columns, *shape.conditions], values, strict=True))
    return shape.action, shape.key, key, written


def test_a_mapping_that_has_a_value_for_every_name_says_what_it_names() -> None:
    shapes = Shapes(TABLES)
    for column in ("a", "b", "a"):
        write = RowChanges()
        write.upsert("people", key={"id": 1}, add=Counter({column: 1}))
        ((shape, _, values),) = shapes.resolve(write.changes, "counted")
        assert (shape.columns, values) == (((column, MergeRule.ADD),), (1,))


def test_a_moment_without_a_zone_is_no_key() -> None:
    hours = {"hours": Table("hours", "hours_v1_b1", ("at",), {"at": "timestamp with time zone"})}
    rows, write = MergedRows(Shapes(hours)), RowChanges()
    write.upsert("hours", key={"at": datetime(2026, 1, 1)})  # noqa: DTZ001 - has no zone
    for _ in range(2):
        with pytest.raises(UnsupportedValue):
            rows.merge(write.changes)
    assert rows.groups() == []


def test_a_number_is_the_same_key_however_it_is_written() -> None:
    rows, write = MergedRows(Shapes(TABLES)), RowChanges()
    write.upsert("people", key={"id": 7}, add={"a": 1})
    write.upsert("people", key={"id": "07"}, add={"a": 1})
    rows.merge(write.changes)
    assert [group.keys for group in rows.groups()] == [[(7,)]]


def test_a_column_cannot_be_written_twice_by_one_call() -> None:
    rows, write = MergedRows(Shapes(TABLES)), RowChanges()
    write.upsert("people", key={"id": 1}, set={"a": 1}, add={"a": 1})
    with pytest.raises(UnsupportedValue, match="twice"):
        rows.merge(write.changes)


def test_values_that_cannot_be_combined_are_written_one_after_the_other() -> None:
    rows, write = MergedRows(Shapes(TABLES)), RowChanges()
    write.upsert("people", key={"id": 1}, set={"a": "not a number"})
    write.upsert("people", key={"id": 1}, add={"a": 1})
    rows.merge(write.changes)
    assert [group.values for group in rows.groups()] == [[("not a number",)], [(1,)]]


def test_a_decimal_that_is_no_number_leaves_nothing_half_merged() -> None:
    prices = {"prices": Table("prices", "prices_v1_b1", ("id",), {"id": "bigint", "highest": "numeric"})}
    rows, write = MergedRows(Shapes(prices)), RowChanges()
    write.upsert("prices", key={"id": 1}, greatest={"highest": Decimal(1)})
    write.upsert("prices", key={"id": 1}, greatest={"highest": Decimal("NaN")})
    rows.merge(write.changes)
    assert [str(value) for group in rows.groups() for (value,) in group.values] == ["1", "NaN"]


def test_columns_may_be_called_as_what_is_done_to_them() -> None:
    types = {"id": "bigint", **dict.fromkeys(["set", "add", "greatest", "least", "first"], "bigint")}
    shapes = Shapes({"words": Table("words", "words_v1_b1", ("id",), types)})
    argument_sets: list[dict[str, dict[str, object]]] = [
        {"set": {"add": 1}},
        {"add": {"set": 1}},
        {"least": {"first": 1}},
        {"first": {"least": 1}},
        {"set": {"add": 1, "greatest": 2}},
        {"greatest": {"add": 2}},
    ]
    for arguments in argument_sets:
        write = RowChanges()
        write.upsert("words", key={"id": 1}, **arguments)  # type: ignore[arg-type]  # none of the rarer ones
        ((shape, _, _),) = shapes.resolve(write.changes)
        assert shape.columns == tuple(
            (column, MergeRule(rule)) for rule, values in arguments.items() for column in values
        )
    set_key = Shapes({"words": Table("words", "words_v1_b1", ("set",), {"set": "bigint", "add": "bigint"})})
    for rule in MergeRule:
        write = RowChanges()
        write.upsert("words", key={"set": 1}, **{rule.value: {"add": 1}})  # type: ignore[arg-type]  # as above
        ((shape, _, _),) = set_key.resolve(write.changes)
        assert shape.columns == (("add", rule),)
