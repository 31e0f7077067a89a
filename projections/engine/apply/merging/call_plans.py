"""Resolves changes of one form: one way in which handlers name table, key and columns.

A change is reduced to its values, in the order of its shape's columns. What that takes is compiled once per form, since
a rebuild resolves several changes per event.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from types import NoneType

from projections.engine.apply.merging.merge_plans import By, ChangePlan, Rule
from projections.engine.changes import Change, Compared, Deciding, MergeRule, Operator, Values
from projections.engine.storage.pg_order import SUMMED, decides, deciding_types, has_order, is_ordered, ordered_types
from projections.engine.storage.pg_text import MOMENTS, UnsupportedValue, date_in, to_pg_text

Key = tuple[object, ...]

_WHOLE_NUMBERS = {"smallint", "integer", "bigint"}
# The rules that write columns together, in the order of the rarer arguments.
_TOGETHER = (MergeRule.GREATEST, MergeRule.LEAST)
# A resolved change: its shape, its key in the table's order, and the values in the order of the shape's columns and
# conditions.
Resolved = tuple[ChangePlan, Key, Sequence[object]]


class CallPlan:
    """Resolves the changes of one form: one way in which handlers name table, key and columns."""

    __slots__ = ("resolve_fast", "shape")

    def __init__(self, shape: ChangePlan) -> None:
        self.shape = shape
        types = shape.table.types
        key_types = tuple([int if types[column] in _WHOLE_NUMBERS else str for column in shape.key])
        # Resolves a change of this form whose values need no further check; None, or a KeyError, for any other.
        # Compiled, since it runs several times per event.
        self.resolve_fast: Callable[..., Resolved | None] = _compiled(shape, key_types)

    def resolve_slow(self, change: Change) -> Resolved:
        """Resolves any change of this form.

        Raises:
            UnsupportedValue: as `Shapes.resolve`.
        """
        _, _, key_values, *effects, rarer = change
        types = self.shape.table.types
        by_rule: dict[Rule, Values | None] = dict(zip(MergeRule, effects, strict=True))
        by_rule |= {rule: {**deciding, **others} for rule, (deciding, others) in together(change)}
        values = tuple([(by_rule[rule] or {})[column] for column, rule in self.shape.columns])
        for (column, rule), value in zip(self.shape.columns, values, strict=True):
            _check(column, rule, value, types[column])
        conditions = (rarer and rarer[2]) or {}
        compared = tuple([as_compared(conditions[column]).value for column, _ in self.shape.conditions])
        for (column, operator), value in zip(self.shape.conditions, compared, strict=True):
            _check_condition(column, operator, value, types[column])
        return self.shape, _key(self.shape, key_values), (*values, *compared)


def _compiled(shape: ChangePlan, key_types: Sequence[type]) -> "Callable[..., Resolved | None]":
    """Compiles `resolve_fast`; the source consists of indexes and quoted names only."""
    names: dict[str, object] = {"shape": shape, "upon": shape.action, "name": shape.name, "datetime": datetime}
    names |= {"text": _text_of_moment, "Compared": Compared}
    types = shape.table.types
    tests = ["action is upon", "table == name", f"type(given) is dict and len(given) == {len(key_types)}"]
    rules = [rule for _, rule in shape.columns]
    for argument in MergeRule:
        count = rules.count(argument)
        # Only dicts, since other mappings may have a value for every name.
        tests.append(f"type({argument}) is dict and len({argument}) == {count}" if count else f"not {argument}")
    for index, (column, kind) in enumerate(zip(shape.key, key_types, strict=True)):
        if types[column] == MOMENTS:
            tests.append(f"type(given[{column!r}]) is datetime and (key{index} := text(given[{column!r}]))")
        else:
            tests.append(f"type(key{index} := given[{column!r}]) is {kind.__name__}")
    tests += _tests_of_rarer(shape)
    values = []
    for index, (column, how) in enumerate(shape.columns):
        source = f"{how}[{column!r}]"
        if isinstance(how, By):
            source = f"{how.rule}_by[{int(column not in how.deciding)}][{column!r}]"
        plain = _plain_types(column, how, types[column])
        if plain is None:
            values.append(source)
            continue
        names[f"plain{index}"] = plain
        tests.append(f"type(value{index} := {source}) in plain{index}")
        values.append(f"value{index}")
    for index, (column, operator) in enumerate(shape.conditions, len(values)):
        names |= {f"plain{index}": _plain_conditions(operator, types[column]), f"operator{index}": operator}
        source = f"where[{column!r}]"
        if operator is not Operator.EQUAL:
            tests.append(f"type({source}) is Compared and {source}.operator is operator{index}")
            source += ".value"
        tests.append(f"type(value{index} := {source}) in plain{index}")
        values.append(f"value{index}")
    key = "".join(f"key{index}, " for index in range(len(key_types)))
    compiled: Callable[..., Resolved | None] = eval(  # noqa: S307 - see above
        f"lambda action, table, given, {', '.join(MergeRule)}, rarer:"
        f" (shape, ({key}), ({''.join(f'{value}, ' for value in values)})) if {' and '.join(tests)} else None",
        names,
    )
    return compiled


def _tests_of_rarer(shape: ChangePlan) -> Iterator[str]:
    """The tests that a change has the shape's rarer arguments, and no others."""
    by = {how.rule: how for _, how in shape.columns if isinstance(how, By)}
    if not by and not shape.conditions:
        yield "not rarer"
        return
    yield "rarer"
    for index, rule in enumerate(_TOGETHER):
        how = by.get(rule)
        if how is None:
            yield f"not rarer[{index}]"
            continue
        others = [effect for _, effect in shape.columns].count(how) - len(how.deciding)
        yield f"({rule}_by := rarer[{index}])"
        yield f"type({rule}_by[0]) is dict and tuple({rule}_by[0]) == {how.deciding!r}"
        yield f"type({rule}_by[1]) is dict and len({rule}_by[1]) == {others}"
    if shape.conditions:
        yield f"type(where := rarer[2]) is dict and len(where) == {len(shape.conditions)}"
    else:
        yield "not rarer[2]"


def together(change: Change) -> list[tuple[By, Deciding]]:
    """The columns that a change writes together, by their rule."""
    rarer = change[-1]
    if rarer is None:
        return []
    written = zip(_TOGETHER, rarer[:2], strict=True)
    return [(By(rule, tuple(columns[0])), columns) for rule, columns in written if columns is not None]


def as_compared(value: object) -> Compared:
    return value if isinstance(value, Compared) else Compared(Operator.EQUAL, value)


def _key(plan: ChangePlan, values: Values) -> Key:
    return tuple([_key_value(column, values[column], plan.table.types[column]) for column in plan.key])


def _key_value(column: str, value: object, kind: str) -> object:
    text = to_pg_text(value)
    if text is None:
        raise UnsupportedValue(f"{column} is null in a key")
    if kind == "date" and isinstance(value, datetime):
        return date_in(text)
    if kind not in _WHOLE_NUMBERS:
        return text
    try:
        return int(text)
    except ValueError as error:
        raise UnsupportedValue(f"{column}: {value!r} is not an integer") from error


# Cached, since many rows share a time in their keys: an hour, a day.
@lru_cache(maxsize=1_000)
def _text_of_moment(moment: datetime) -> str | None:
    return to_pg_text(moment)


def _plain_types(column: str, rule: Rule, kind: str) -> frozenset[type] | None:
    """Types of values that need no further check; None: all of them."""
    if isinstance(rule, By):
        return deciding_types(kind) if column in rule.deciding else None
    if rule in (MergeRule.GREATEST, MergeRule.LEAST):
        return ordered_types(kind) | {NoneType}
    return SUMMED if rule is MergeRule.ADD else None


def _plain_conditions(operator: Operator, kind: str) -> frozenset[type]:
    """Types of a condition's values that need no further check."""
    plain = ordered_types(kind) if has_order(kind) else frozenset({str, bool})
    return plain | {NoneType} if operator in (Operator.EQUAL, Operator.OTHER) else plain


def _check(column: str, rule: Rule, value: object, kind: str) -> None:
    if rule is MergeRule.ADD and (isinstance(value, bool) or not isinstance(value, tuple(SUMMED))):
        raise UnsupportedValue(
            f"{column}: {value!r} cannot be added; only integers, decimals and intervals can be added"
        )
    if isinstance(rule, By):
        is_refused = column in rule.deciding and not decides(value, kind)
    else:
        compares = value is not None and rule in (MergeRule.GREATEST, MergeRule.LEAST)
        is_refused = compares and not is_ordered(value, kind)
    if is_refused:
        raise UnsupportedValue(f"{column}: {value!r} is not ordered as in the database")


def _check_condition(column: str, operator: Operator, value: object, kind: str) -> None:
    if value is None and operator in (Operator.EQUAL, Operator.OTHER):
        return
    if value is None or (has_order(kind) and not is_ordered(value, kind)):
        raise UnsupportedValue(f"{column}: {value!r} cannot be compared as in the database")
