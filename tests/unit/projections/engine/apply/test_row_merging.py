"""Folding a batch gives the rows that its events give one by one."""

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.engine.apply.change_plans import Shapes
from projections.engine.apply.row_merging import MergedRows
from projections.engine.changes import MergeRule, RowAction, RowChanges
from projections.engine.storage.pg_text import UnsupportedValue
from projections.engine.storage.tables import Table

TABLES = {"people": Table("people", "people_v1_b1", ("id",), {"id": "bigint", "a": "bigint", "b": "bigint"})}
State = dict[object, dict[str, int | None]]


def applied(state: State, action: RowAction, key: object, columns: dict[str, tuple[MergeRule, Any]]) -> None:
    """What PostgreSQL does with one change."""
    if action is RowAction.DELETE:
        state.pop(key, None)
        return
    if key not in state:
        if action is RowAction.UPDATE:
            return
        state[key] = {"a": None, "b": None}
    row = state[key]
    for column, (how, value) in columns.items():
        old = row[column]
        if how is MergeRule.SET or old is None:
            row[column] = value
        elif value is None or how is MergeRule.FIRST:
            pass
        elif how is MergeRule.ADD:
            row[column] = old + value
        else:
            row[column] = max(old, value) if how is MergeRule.GREATEST else min(old, value)


small = st.integers(-3, 3)
columns = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.one_of(
        st.tuples(st.just(MergeRule.ADD), small),
        st.tuples(
            st.sampled_from([MergeRule.SET, MergeRule.GREATEST, MergeRule.LEAST, MergeRule.FIRST]), st.none() | small
        ),
    ),
)
changes = st.lists(st.tuples(st.sampled_from(list(RowAction)), st.integers(1, 3), columns), max_size=12)


def say(write: RowChanges, action: RowAction, key: int, said: dict[str, tuple[MergeRule, Any]]) -> None:
    if action is RowAction.DELETE:
        write.delete("people", key={"id": key})
        return
    by_how: dict[MergeRule, dict[str, object]] = {how: {} for how in MergeRule}
    for column, (how, value) in said.items():
        by_how[how][column] = value
    arguments = {how.value: values for how, values in by_how.items()}
    if action is RowAction.INSERT:
        write.insert("people", key={"id": key}, set=arguments["set"], first=arguments["first"])
    elif action is RowAction.UPSERT:
        write.upsert("people", key={"id": key}, **arguments)
    else:
        write.update("people", key={"id": key}, **arguments)


@given(changes)
def test_folded_waves_end_in_the_state_of_single_changes(
    said: list[tuple[RowAction, int, dict[str, tuple[MergeRule, Any]]]],
) -> None:
    rows, singly, folded = MergedRows(Shapes(TABLES)), State(), State()
    for action, key, what in said:
        if action is RowAction.INSERT:
            # It has no other merge rules.
            what = {column: rule for column, rule in what.items() if rule[0] in (MergeRule.SET, MergeRule.FIRST)}
        write = RowChanges()
        say(write, action, key, what)
        rows.merge(write.changes)
        applied(singly, action, key, what)
    for group in rows.groups():
        assert len(set(group.keys)) == len(group.keys)
        for (row,), values in zip(group.keys, group.values, strict=True):
            written = {column: (how, value) for (column, how), value in zip(group.shape.columns, values, strict=True)}
            applied(folded, group.shape.action, row, written)
    assert folded == singly


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


def test_keys_that_mean_the_same_are_one_row() -> None:
    hours = {"hours": Table("hours", "hours_v1_b1", ("at",), {"at": "timestamp with time zone", "n": "bigint"})}
    rows, write = MergedRows(Shapes(hours)), RowChanges()
    moment = datetime(2026, 1, 1, 12, tzinfo=UTC)
    write.upsert("hours", key={"at": moment}, add={"n": 1})
    write.upsert("hours", key={"at": moment.astimezone()}, add={"n": 1})
    rows.merge(write.changes)
    (group,) = rows.groups()
    assert group.values == [(2,)]


@given(st.lists(st.tuples(st.sampled_from(["sent", "seen"]), changes), max_size=8))
def test_what_the_events_before_have_said_makes_no_difference(
    events: list[tuple[str, list[tuple[RowAction, int, dict[str, tuple[MergeRule, Any]]]]]],
) -> None:
    usual, rows, anew = Shapes(TABLES), MergedRows(Shapes(TABLES)), MergedRows(Shapes(TABLES))
    for kind, said in events:
        write = RowChanges()
        for action, key, what in said:
            say(write, action, key, what)
        resolved = [
            (shape.action, dict(zip(shape.columns, values, strict=True)), key)
            for shape, key, values in usual.resolve(write.changes, kind)
        ]
        assert resolved == [
            (shape.action, dict(zip(shape.columns, values, strict=True)), key)
            for change in write.changes
            for shape, key, values in Shapes(TABLES).resolve([change])
        ]
        rows.merge(write.changes, kind)
        for change in write.changes:
            anew.merge([change])
    assert _written(rows) == _written(anew)


def _written(rows: MergedRows) -> dict[object, list[object]]:
    """The writes to each row, in order."""
    found: dict[object, list[object]] = {}
    for group in rows.groups():
        for key, values in zip(group.keys, group.values, strict=True):
            columns = dict(zip(group.shape.columns, values, strict=True))
            found.setdefault(key, []).append((group.shape.action, columns))
    return found


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
    said: list[dict[str, dict[str, object]]] = [
        {"set": {"add": 1}},
        {"add": {"set": 1}},
        {"least": {"first": 1}},
        {"first": {"least": 1}},
        {"set": {"add": 1, "greatest": 2}},
        {"greatest": {"add": 2}},
    ]
    for arguments in said:
        write = RowChanges()
        write.upsert("words", key={"id": 1}, **arguments)
        ((shape, _, _),) = shapes.resolve(write.changes)
        assert shape.columns == tuple(
            (column, MergeRule(how)) for how, values in arguments.items() for column in values
        )
    set_key = Shapes({"words": Table("words", "words_v1_b1", ("set",), {"set": "bigint", "add": "bigint"})})
    for how in MergeRule:
        write = RowChanges()
        write.upsert("words", key={"set": 1}, **{how.value: {"add": 1}})
        ((shape, _, _),) = set_key.resolve(write.changes)
        assert shape.columns == (("add", how),)
