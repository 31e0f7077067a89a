"""Folding a batch gives the rows that its events give one by one."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.engine.literals import Unwritable
from projections.engine.rows import Rows, Table
from projections.engine.write import Action, How, Write

TABLES = {"people": Table("people", "people_v1_b1", ("id",), {"id": "int8", "a": "int8", "b": "int8"})}
State = dict[str, dict[str, int | None]]


def applied(state: State, action: Action, key: str, columns: dict[str, tuple[How, Any]]) -> None:
    """What PostgreSQL does with one change."""
    if action is Action.DELETE:
        state.pop(key, None)
        return
    if key not in state:
        if action is Action.UPDATE:
            return
        state[key] = {"a": None, "b": None}
    row = state[key]
    for column, (how, value) in columns.items():
        old = row[column]
        if how is How.SET or old is None:
            row[column] = value
        elif value is None or how is How.FIRST:
            pass
        elif how is How.ADD:
            row[column] = old + value
        else:
            row[column] = max(old, value) if how is How.GREATEST else min(old, value)


small = st.integers(-3, 3)
columns = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.one_of(
        st.tuples(st.just(How.ADD), small),
        st.tuples(st.sampled_from([How.SET, How.GREATEST, How.LEAST, How.FIRST]), st.none() | small),
    ),
)
changes = st.lists(st.tuples(st.sampled_from(list(Action)), st.integers(1, 3), columns), max_size=12)


def say(write: Write, action: Action, key: int, said: dict[str, tuple[How, Any]]) -> None:
    if action is Action.DELETE:
        write.delete("people", key={"id": key})
        return
    by_how: dict[How, dict[str, object]] = {how: {} for how in How}
    for column, (how, value) in said.items():
        by_how[how][column] = value
    arguments = {how.value: values for how, values in by_how.items()}
    if action is Action.UPSERT:
        write.upsert("people", key={"id": key}, **arguments)
    else:
        write.update("people", key={"id": key}, **arguments)


@given(changes)
def test_folded_waves_end_in_the_state_of_single_changes(
    said: list[tuple[Action, int, dict[str, tuple[How, Any]]]],
) -> None:
    rows, singly, folded = Rows(TABLES), State(), State()
    for action, key, what in said:
        write = Write()
        say(write, action, key, what)
        rows.merge(write.changes)
        applied(singly, action, str(key), what)
    for wave in rows.waves:
        for (_, key_texts), row in wave.items():
            applied(folded, row.action, key_texts[0], row.columns)
    assert folded == singly


def test_many_changes_of_one_row_become_one() -> None:
    rows, write = Rows(TABLES), Write()
    for number in range(1_000):
        write.upsert("people", key={"id": 1}, add={"a": 1}, greatest={"b": number})
    rows.merge(write.changes)
    assert len(rows.waves) == 1
    (row,) = rows.waves[0].values()
    assert row.columns == {"a": (How.ADD, 1_000), "b": (How.GREATEST, 999)}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda write: write.upsert("animals", key={"id": 1}),
        lambda write: write.upsert("people", key={"name": 1}),
        lambda write: write.upsert("people", key={"id": 1, "a": 2}),
        lambda write: write.upsert("people", key={"id": None}),
        lambda write: write.upsert("people", key={"id": 1}, set={"c": 1}),
        lambda write: write.upsert("people", key={"id": 1}, add={"a": 0.5}),
        lambda write: write.upsert("people", key={"id": 1}, add={"a": None}),
        lambda write: write.upsert("people", key={"id": 1}, greatest={"a": "text"}),
        lambda write: write.delete("people", key={"id": datetime(2026, 1, 1)}),  # noqa: DTZ001 - has no zone
    ],
)
def test_a_change_that_fits_no_table_leaves_nothing_behind(wrong: Any) -> None:  # noqa: ANN401 - a parameter
    rows, write = Rows(TABLES), Write()
    write.upsert("people", key={"id": 7}, set={"a": 1})
    wrong(write)
    with pytest.raises(Unwritable):
        rows.merge(write.changes)
    assert rows.waves == []


def test_keys_that_mean_the_same_are_one_row() -> None:
    hours = {"hours": Table("hours", "hours_v1_b1", ("at",), {"at": "timestamptz", "n": "int8"})}
    rows, write = Rows(hours), Write()
    moment = datetime(2026, 1, 1, 12, tzinfo=UTC)
    write.upsert("hours", key={"at": moment}, add={"n": 1})
    write.upsert("hours", key={"at": moment.astimezone()}, add={"n": 1})
    rows.merge(write.changes)
    assert len(rows.waves[0]) == 1


def test_a_column_cannot_be_written_twice_by_one_call() -> None:
    with pytest.raises(ValueError, match="twice"):
        Write().upsert("people", key={"id": 1}, set={"a": 1}, add={"a": 1})
