"""Shapes of row changes, and how two changes of one row are merged into one, computed once per pair of shapes."""

import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple

from projections.engine.changes import MergeRule, Operator, RowAction
from projections.engine.storage.pg_order import exact_sum
from projections.engine.storage.tables import Table


class By(NamedTuple):
    """Merge rule of columns that are written together: a later change replaces all of them or none.

    It does if its deciding columns are not less than the earlier ones (GREATEST), or less than those (LEAST).
    """

    # GREATEST or LEAST.
    rule: MergeRule
    # The columns that decide, compared one after the other.
    deciding: tuple[str, ...]


Rule = MergeRule | By
Columns = tuple[tuple[str, Rule], ...]
Conditions = tuple[tuple[str, Operator], ...]
Values = Sequence[object]

_SET, _ADD, _GREATEST, _LEAST, _FIRST = MergeRule
# Combines two values as PostgreSQL would.
_COMBINED = {
    _ADD: "({old} if (b := {new}) is None else b if (a := {old}) is None else a + b)",
    _GREATEST: "({old} if (b := {new}) is None else b if (a := {old}) is None or b > a else a)",
    _LEAST: "({old} if (b := {new}) is None else b if (a := {old}) is None or b < a else a)",
    _FIRST: "({new} if (a := {old}) is None else a)",
}
# For a column that rounds each sum: whole numbers are combined, others are left to PostgreSQL by a TypeError.
_ADDED_WHOLE = "({old} if (b := {new}) is None else b if (a := {old}) is None else index(a) + index(b))"
_ADDED_EXACTLY = "({old} if (b := {new}) is None else b if (a := {old}) is None else exact_sum(a, b))"


_DELETIONS = (RowAction.DELETE, RowAction.DELETE_ALL, RowAction.DELETE_ENDED)


class ChangePlan:
    """The shape of a change: table, action, the written columns with their merge rules, and the conditions."""

    __slots__ = ("action", "columns", "conditions", "is_timed", "key", "merge_plans", "name", "table")

    def __init__(
        self, table: Table, action: RowAction, columns: Columns, key: tuple[str, ...], conditions: Conditions
    ) -> None:
        self.table = table
        self.name = table.name
        self.action = action
        self.columns = columns
        # The primary key, or the first of its columns.
        self.key = key
        self.conditions = conditions
        # Whether the event's time decides what it finds: of a table whose rows end, unless it deletes in any case. The
        # time is then the last of the values.
        self.is_timed = table.ends is not None and (bool(conditions) or action not in _DELETIONS)
        # Merge plans by the later change's shape; None if the two cannot be merged into one change.
        self.merge_plans: dict[ChangePlan, MergePlan | None] = {}


class MergePlan(NamedTuple):
    """Merges a later change of a row into the earlier one: the resulting shape, and how to combine the values."""

    shape: ChangePlan
    # Raises TypeError or ArithmeticError, or returns None, if two values cannot be combined in Python.
    combine: Callable[[Values, Values], Values | None]


class Merged(NamedTuple):
    """As `MergePlan`, before the shape is looked up."""

    action: RowAction
    columns: Columns
    combine: Callable[[Values, Values], Values | None]


def merged(earlier: ChangePlan, later: ChangePlan) -> Merged | None:
    """How the later change is merged into the earlier one; None if they cannot become one change.

    A conditional change depends on the row, which only the database knows, so it is written by itself.
    """
    if later.conditions:
        return None
    if later.action is RowAction.DELETE:
        return Merged(RowAction.DELETE, (), _nothing)
    if earlier.conditions:
        return None
    if earlier.action is RowAction.DELETE:
        return Merged(RowAction.DELETE, (), _nothing) if later.action is RowAction.UPDATE else None
    if earlier.action is RowAction.UPDATE and later.action is not RowAction.UPDATE:
        return None
    terms, lasts = _terms(earlier, later), _lasts(earlier)
    if terms is None or lasts is None:
        return None
    columns: dict[str, Rule] = dict(earlier.columns) | {
        column: rule for column, rule in later.columns if terms[column].startswith("new[")
    }
    # Compiled, since it runs several times per event; the source consists of indexes only.
    values = [*terms.values(), "old[-1]"] if earlier.is_timed else terms.values()
    combine: Callable[[Values, Values], Values | None] = eval(  # noqa: S307 - see above
        f"lambda old, new: ({''.join(f'{value}, ' for value in values)}){lasts}",
        {"index": operator.index, "exact_sum": exact_sum},
    )
    return Merged(earlier.action, tuple(columns.items()), combine)


def _terms(earlier: ChangePlan, later: ChangePlan) -> dict[str, str] | None:
    """The source of each column's combined value, in the order of the resulting columns; None: impossible."""
    before = dict(earlier.columns)
    old = {column: f"old[{index}]" for index, column in enumerate(before)}
    new = {column: f"new[{index}]" for index, (column, _) in enumerate(later.columns)}
    terms = dict(old)
    for column, rule in later.columns:
        rule_before = before.get(column)
        may_be_new = rule_before is None and earlier.action is not RowAction.UPDATE
        if may_be_new and _meets_default(earlier.table, column, rule):
            return None
        if isinstance(rule, By) or isinstance(rule_before, By):
            if not _is_same_group(before, rule, later):
                return None
            terms[column] = new[column]
            if rule_before is not None:
                assert isinstance(rule, By)
                terms[column] = f"({new[column]} if {_is_written(rule, old, new)} else {old[column]})"
        elif rule_before is None or rule is _SET:
            terms[column] = new[column]
        elif rule_before is _SET or rule_before is rule:
            term = _sum_of(earlier.table, column) if rule is _ADD else _COMBINED[rule]
            terms[column] = term.format(old=old[column], new=new[column])
        else:
            return None
    return terms


def _sum_of(table: Table, column: str) -> str:
    if table.rounds(column):
        return _ADDED_WHOLE
    return _ADDED_EXACTLY if table.types[column] == "numeric" else _COMBINED[_ADD]


def _meets_default(table: Table, column: str, rule: Rule) -> bool:
    """Whether merging depends on the column's default in a new row, which only the database knows."""
    if isinstance(rule, By):
        return not table.defaults.isdisjoint(rule.deciding)
    if rule is _ADD:
        return column in table.defaults and column not in table.zero_defaults
    return rule is not _SET and column in table.defaults


def _lasts(earlier: ChangePlan) -> str | None:
    """Python source of a condition: the row that the earlier change wrote has not ended at the later event's time.

    Empty: the row has no end; None: only the database knows.
    """
    if not earlier.is_timed:
        return ""
    for index, (column, rule) in enumerate(earlier.columns):
        if column == earlier.table.ends and rule in (_SET, _GREATEST):
            # A maximum is at least the value that the event has, which is unknown for none.
            endless = f"old[{index}] is None or" if rule is _SET else f"old[{index}] is not None and"
            return f" if {endless} old[{index}] > new[-1] else None"
    return None


def _is_same_group(before: dict[str, Rule], rule: Rule, later: ChangePlan) -> bool:
    """Whether the earlier change has the same group of columns under this rule as the later one, or none of them."""
    columns = {column for column, other in later.columns if other == rule}
    if not isinstance(rule, By):
        return False
    if columns.isdisjoint(before) and rule not in before.values():
        return True
    return columns == {column for column, other in before.items() if other == rule}


def _is_written(rule: By, old: dict[str, str], new: dict[str, str]) -> str:
    """Whether the later values replace the earlier ones; a tie is decided by the order of the events."""
    later, earlier = ("".join(f"{terms[column]}, " for column in rule.deciding) for terms in (new, old))
    return f"({later}) {'>=' if rule.rule is _GREATEST else '<'} ({earlier})"


def _nothing(old: Values, new: Values) -> Values:
    return ()
