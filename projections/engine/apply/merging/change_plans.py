"""Plans for row changes, computed once per shape, since a projection's changes have only a few shapes.

The form of a change (`call_plans`) determines its shape, and the shape the checks and combinations. Two changes of one
row are merged by a `MergePlan` (`merge_plans`), one per pair of shapes.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from projections.engine.apply.merging.call_plans import CallPlan, Resolved, as_compared, together
from projections.engine.apply.merging.merge_plans import By, ChangePlan, Columns, Conditions, MergePlan, Rule, merged
from projections.engine.changes import Change, MergeRule, Operator, RowAction
from projections.engine.storage.pg_order import has_equality, has_order
from projections.engine.storage.pg_text import UnsupportedValue
from projections.engine.storage.tables import Table

# Separators between the column names in the key of a change's form. They are not strings, since a column may be called
# `add`.
_NOW_SET, _NOW_ADD, _NOW_GREATEST, _NOW_LEAST, _NOW_FIRST = range(len(MergeRule))
_NOW_GREATEST_BY, _NOW_LEAST_BY, _NOW_WITH, _NOW_WHERE = range(len(MergeRule), len(MergeRule) + 4)


class Shapes:
    """Caches the shapes that occur in one build's tables."""

    def __init__(self, tables: Mapping[str, Table], folded: Collection[str] = ()) -> None:
        """`folded`: the tables that only folds write."""
        self._tables = tables
        self._folded = folded
        # Whether any change so far deletes rows by a part of their key, or may meet a row that has ended.
        self.needs_preparation = any(table.ends is not None for table in tables.values())
        self._shapes: dict[tuple[object, ...], ChangePlan] = {}
        self._forms: dict[tuple[object, ...], CallPlan] = {}
        # Forms of an event's changes, by event type. The next event usually has the same, or fewer of them if events of
        # the type are fanned out.
        self._usual: dict[str, list[CallPlan]] = {}

    def resolve(self, changes: Sequence[Change], kind: str = "") -> Sequence[Resolved]:
        """Resolves an event's changes to shape, key in the table's order, and values.

        Keys are equal if the database treats them as equal.
        `kind`: the event's type.

        Raises:
            UnsupportedValue: a change does not fit its table.
        """
        usual = self._usual.get(kind)
        if usual is not None and len(usual) >= len(changes):
            try:
                resolved = [form.resolve_fast(*change) for form, change in zip(usual, changes, strict=False)]
            except KeyError:
                pass
            else:
                if None not in resolved:
                    return resolved  # type: ignore[return-value]  # none of them is None
        forms: list[CallPlan] = []
        plain: list[Resolved] = []
        for change in changes:
            # An event that is fanned out has many changes of one form, or of a few that take turns.
            fast = _resolved(forms[-1:] + forms[-2:-1], change)
            form = fast[0] if fast is not None else self._form_of(change)
            forms.append(form)
            plain.append(fast[1] if fast is not None else form.resolve_fast(*change) or form.resolve_slow(change))
        self._usual[kind] = forms
        return plain

    def _form_of(self, change: Change) -> CallPlan:
        action, table, key, set_, add, greatest, least, first, rarer = change
        words: tuple[object, ...] = (
            action,
            table,
            *key,
            _NOW_SET,
            *(set_ or ()),
            _NOW_ADD,
            *(add or ()),
            _NOW_GREATEST,
            *(greatest or ()),
            _NOW_LEAST,
            *(least or ()),
            _NOW_FIRST,
            *(first or ()),
        )
        if rarer is not None:
            words += tuple(_words_of_rarer(change))
        form = self._forms.get(words)
        if form is None:
            form = self._forms[words] = self._form(change)
        return form

    def shape(
        self,
        table: Table,
        action: RowAction,
        columns: Columns = (),
        key: tuple[str, ...] | None = None,
        conditions: Conditions = (),
    ) -> ChangePlan:
        """Returns the shape, created on first use; `key`: the first columns of the primary key, or all of them."""
        key = table.key if key is None else key
        kind = table.name, action, columns, key, conditions
        plan = self._shapes.get(kind)
        if plan is None:
            plan = self._shapes[kind] = ChangePlan(table, action, columns, key, conditions)
        return plan

    def merge_plan(self, earlier: ChangePlan, later: ChangePlan) -> "MergePlan | None":
        """The plan that merges the later change into the earlier one; None if they cannot become one change."""
        try:
            return earlier.merge_plans[later]
        except KeyError:
            merge = merged(earlier, later)
            plan = merge and MergePlan(self.shape(earlier.table, merge.action, merge.columns), merge.combine)
            earlier.merge_plans[later] = plan
            return plan

    def _form(self, change: Change) -> CallPlan:
        action, name, key, *effects, rarer = change
        table = self._tables.get(name)
        if table is None:
            raise UnsupportedValue(f"there is no table {name}")
        if name in self._folded:
            raise UnsupportedValue(f"{name} is a folded table: only its fold writes its rows")
        key_columns = table.key
        if action is RowAction.DELETE_ALL:
            key_columns = table.key[: len(key)]
            if not key or set(key) != set(key_columns):
                raise UnsupportedValue(f"{name}: the key begins with {', '.join(table.key)}, in this order")
            self.needs_preparation = True
        elif set(key) != set(table.key):
            raise UnsupportedValue(f"{name}: the key is {', '.join(table.key)}")
        columns: list[tuple[str, Rule]] = [
            (column, rule) for rule, values in zip(MergeRule, effects, strict=True) for column in values or ()
        ]
        for by, (deciding, others) in together(change):
            columns += [(column, by) for column in (*deciding, *others)]
        names = [column for column, _ in columns]
        for column in names:
            if column not in table.types or column in key:
                why = "a part of its key" if column in key else "not one of its columns"
                raise UnsupportedValue(f"{name}: {column} cannot be written, since it is {why}")
        if len(set(names)) != len(names):
            raise UnsupportedValue(f"{name}: a column is written twice by one call")
        _check_order(table, columns)
        conditions = tuple(
            [(column, as_compared(value).operator) for column, value in ((rarer and rarer[2]) or {}).items()]
        )
        _check_conditions(table, conditions)
        return CallPlan(self.shape(table, action, tuple(columns), key_columns, conditions))


def _resolved(forms: Sequence[CallPlan], change: Change) -> tuple[CallPlan, Resolved] | None:
    """The change, resolved by the first of the forms that it has; None: it has none of them, or needs more checks."""
    for form in forms:
        try:
            resolved = form.resolve_fast(*change)
        except KeyError:
            continue
        if resolved is not None:
            return form, resolved
    return None


def _words_of_rarer(change: Change) -> Iterator[object]:
    rarer = change[-1]
    assert rarer is not None
    for separator, written in ((_NOW_GREATEST_BY, rarer[0]), (_NOW_LEAST_BY, rarer[1])):
        deciding, others = written or ((), ())
        yield from (separator, *deciding, _NOW_WITH, *others)
    yield _NOW_WHERE
    for column, value in (rarer[2] or {}).items():
        yield from (column, as_compared(value).operator)


def _check_order(table: Table, columns: Sequence[tuple[str, Rule]]) -> None:
    """
    Raises:
        UnsupportedValue: a column that decides has no order, or a change has no column that decides.
    """
    for column, rule in columns:
        if isinstance(rule, By) and not rule.deciding:
            raise UnsupportedValue(f"{table.name}: no column decides whether {column} is written")
        if isinstance(rule, By) and column in rule.deciding and not has_order(table.types[column]):
            raise UnsupportedValue(f"{table.name}: {column} cannot decide, since it holds no number, time or text")
        if isinstance(rule, By) and column in rule.deciding and column in table.rounded:
            raise UnsupportedValue(f"{table.name}: {column} cannot decide, since its type rounds what is written")


def _check_conditions(table: Table, conditions: Conditions) -> None:
    for column, operator in conditions:
        kind = table.types.get(column)
        if kind is None or column in table.key:
            raise UnsupportedValue(f"{table.name}: {column} cannot be in a condition")
        if not (has_equality(kind) if operator in (Operator.EQUAL, Operator.OTHER) else has_order(kind)):
            raise UnsupportedValue(f"{table.name}: {column} is a {kind}, which cannot be compared so")
