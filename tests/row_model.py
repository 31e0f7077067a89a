"""A plain model of row changes in Python, one after the other, and random changes to compare the engine with it."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from projections.engine.apply.merging.merge_plans import By
from projections.engine.apply.merging.row_merging import RowGroup
from projections.engine.changes import Compared, MergeRule, Operator, RowAction, RowChanges
from projections.engine.storage.tables import Table

DDL = """
    CREATE TABLE {rows} (
        a bigint, b bigint,
        number bigint,
        words text,
        -- decide
        at bigint, tie text DEFAULT 'b',
        -- are written with them
        said text, by bigint,
        state text,
        graded bigint DEFAULT 1, tried bigint DEFAULT 0,
        PRIMARY KEY (a, b)
    );
"""
TYPES = {
    **dict.fromkeys(["a", "b", "number", "at"], "bigint"),
    **dict.fromkeys(["words", "tie", "said"], "text"),
    "by": "bigint",
    "state": "text",
    **dict.fromkeys(["graded", "tried"], "bigint"),
}
COLUMNS = ("number", "words", "at", "tie", "said", "by", "state", "graded", "tried")
DEFAULTS: Mapping[str, Any] = {"tie": "b", "graded": 1, "tried": 0}
TABLE = Table("rows", "rows_v1_b1", ("a", "b"), TYPES, defaults=frozenset(DEFAULTS), zero_defaults=frozenset({"tried"}))
Key = tuple[int, int]
# A method of `RowChanges` and its arguments.
Call = tuple[str, dict[str, Any]]

_COMPARES: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
}


class Model:
    """The rows by key."""

    def __init__(self, columns: Sequence[str] = COLUMNS, defaults: Mapping[str, Any] = DEFAULTS) -> None:
        self._columns = columns
        self._defaults = defaults
        self.rows: dict[Key, dict[str, Any]] = {}

    def apply(self, method: str, arguments: Mapping[str, Any]) -> None:
        """Does what the method of `RowChanges` says."""
        key = arguments["key"]
        if method == "delete_all":
            for other in [
                other for other in self.rows if other[: len(key)] == tuple(key[column] for column in sorted(key))
            ]:
                del self.rows[other]
            return
        row = self.rows.get((key["a"], key["b"]))
        if row is None and method in ("insert", "upsert"):
            written = dict.fromkeys(_named(arguments))
            row = self.rows[key["a"], key["b"]] = {**dict.fromkeys(self._columns), **self._defaults, **written}
        elif row is None or not _holds(row, arguments.get("where") or {}):
            return
        if method == "delete":
            del self.rows[key["a"], key["b"]]
        else:
            _merge(row, arguments)

    def apply_group(self, group: RowGroup) -> None:
        """Does what the statement for the group says."""
        for key, values in zip(group.keys, group.values, strict=True):
            shape = group.shape
            arguments: dict[str, Any] = {"key": dict(zip(shape.key, key, strict=True)), "where": {}}
            written = [*shape.columns, *shape.conditions]
            for (column, rule), value in zip(written, values, strict=True):
                if isinstance(rule, Operator):
                    arguments["where"][column] = Compared(rule, value)
                elif isinstance(rule, By):
                    ordered: tuple[dict[str, Any], ...] = arguments.setdefault(f"{rule.rule}_by", ({}, {}))
                    ordered[column not in rule.deciding][column] = value
                else:
                    arguments.setdefault(rule.value, {})[column] = value
            self.apply({RowAction.DELETE_ALL: "delete_all"}.get(shape.action, shape.action.value), arguments)


def _named(arguments: Mapping[str, Any]) -> list[str]:
    """The columns that a call writes."""
    single = [column for rule in MergeRule for column in arguments.get(rule.value) or ()]
    compared = [arguments.get(f"{rule}_by") or () for rule in ("greatest", "least")]
    return single + [column for columns in compared for group in columns for column in group]


def _holds(row: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    for column, condition in where.items():
        comparison, value = condition if isinstance(condition, Compared) else (Operator.EQUAL, condition)
        if comparison in (Operator.EQUAL, Operator.OTHER):
            holds = (row[column] == value) is (comparison is Operator.EQUAL)
        else:
            holds = row[column] is not None and _COMPARES[comparison](row[column], value)
        if not holds:
            return False
    return True


def _merge(row: dict[str, Any], arguments: Mapping[str, Any]) -> None:
    before = dict(row)
    row |= arguments.get("set") or {}
    for rule, combine in (("add", operator.add), ("greatest", max), ("least", min), ("first", lambda old, new: old)):
        for column, value in (arguments.get(rule) or {}).items():
            if value is not None:
                row[column] = value if before[column] is None else combine(before[column], value)
    for rule, beats in (("greatest_by", operator.ge), ("least_by", operator.lt)):
        deciding, others = arguments.get(rule) or ({}, {})
        old, new = [before[column] for column in deciding], list(deciding.values())
        if _beats(old, new, beats):
            row |= dict(deciding) | dict(others)


def _beats(old: list[Any], new: list[Any], beats: Callable[[Any, Any], bool]) -> bool:
    """As PostgreSQL compares rows: the first columns that differ decide; a null one lets the new values win."""
    for one, other in zip(old, new, strict=True):
        if one is None:
            return True
        if one != other:
            return beats(other, one)
    return beats(new, old)


def say(write: RowChanges, call: Call) -> None:
    method, arguments = call
    getattr(write, method)("rows", **arguments)


_small = st.integers(-2, 2)
# Texts that collations of languages order otherwise than code points.
_text = st.sampled_from(["", "a", "B", "b", "ä", "Z", "é", "_", "\U0001f600"])
_keys = st.fixed_dictionaries({"a": st.integers(1, 2), "b": st.integers(1, 2)})
_number = st.one_of(
    st.tuples(st.just("add"), _small),
    st.tuples(st.sampled_from(["set", "greatest", "least", "first"]), st.none() | _small),
)
_words = st.tuples(st.sampled_from(["set", "greatest", "least", "first"]), st.none() | _text)
_set = st.tuples(st.just("set"), st.none() | _text)


@st.composite
def _effects(draw: st.DrawFn, *, plain: bool) -> dict[str, Any]:
    """Arguments of `upsert` and `update`; `plain`: those of `insert`."""
    arguments: dict[str, Any] = {}
    compared: tuple[str, ...] = ()
    if not plain and draw(st.booleans()):
        deciding = draw(st.sampled_from([("at",), ("at", "tie"), ("tie",)]))
        others = draw(st.sampled_from([(), ("said",), ("said", "by")]))
        values: dict[str, st.SearchStrategy[Any]] = {"at": _small, "tie": _text, "said": _text, "by": _small}
        values_by_role = tuple({column: draw(values[column]) for column in columns} for columns in (deciding, others))
        arguments[draw(st.sampled_from(["greatest_by", "least_by"]))] = values_by_role
        compared = (*deciding, *others)
    single = {"words": _words, "state": _set, "said": _set, "tie": _set}
    for column, strategy in (dict.fromkeys(("number", "graded", "tried"), _number) | single).items():
        if column in compared or not draw(st.booleans()):
            continue
        rule, value = draw(strategy)
        if not plain or rule in ("set", "first"):
            arguments.setdefault(rule, {})[column] = value
    return arguments


@st.composite
def _where(draw: st.DrawFn) -> dict[str, Any]:
    where: dict[str, Any] = {}
    for column, values in (("number", _small), ("state", _text), ("tie", _text)):
        if draw(st.integers(0, 3)):
            continue
        comparison = draw(st.sampled_from(list(Operator)))
        equal = comparison in (Operator.EQUAL, Operator.OTHER)
        value = draw(st.none() | values if equal else values)
        where[column] = value if comparison is Operator.EQUAL else Compared(comparison, value)
    return where


@st.composite
def calls(draw: st.DrawFn) -> Call:
    """One call of a method of `RowChanges`."""
    method = draw(st.sampled_from(["insert", "upsert", "upsert", "update", "update", "delete", "delete_all"]))
    key = draw(_keys)
    if method == "delete_all":
        return method, {"key": draw(st.sampled_from([{"a": key["a"]}, key]))}
    arguments = {"key": key}
    if method != "delete":
        arguments |= draw(_effects(plain=method == "insert"))
    if method != "insert" and draw(st.booleans()):
        arguments["where"] = draw(_where())
    return method, arguments
