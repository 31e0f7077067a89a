"""Merges a batch's row changes into one change per row, in waves that are written in order.

Within a wave every row occurs once, so its changes can be written set-based, table by table and in any order. A change
that cannot be merged into the previous one of its row (an insert after a delete, a sum after a maximum) goes into the
next wave. So the changes of each key keep the order of the events.

Rows are deleted by a part of their key before everything else: the deletion is meant for rows that no earlier event of
the batch has written, and every row that one has written is deleted by its own key.

To a change of a table whose rows end belongs the time of its event: a row that has ended by then is deleted first, so
that the event finds none, whether the row was swept before or not.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain

import msgspec

from projections.engine.apply.merging.call_plans import Key, Resolved
from projections.engine.apply.merging.change_plans import Shapes
from projections.engine.apply.merging.merge_plans import ChangePlan
from projections.engine.changes import Change, MergeRule, RowAction


class Row(msgspec.Struct, gc=False):
    """The merged change of one row; the values are in the order of the shape's columns."""

    wave: int
    shape: ChangePlan
    values: Sequence[object]


class RowGroup(msgspec.Struct, frozen=True):
    """Changes of one wave and shape; each row occurs once."""

    shape: ChangePlan
    keys: list[Key]
    values: list[Sequence[object]]

    def parts(self, most: int) -> "Iterator[RowGroup]":
        """The same rows in groups of at most `most`."""
        for start in range(0, len(self.keys), most):
            yield RowGroup(self.shape, self.keys[start : start + most], self.values[start : start + most])


class MergedRows:
    """The merged changes of a batch."""

    def __init__(self, shapes: Shapes) -> None:
        self._shapes = shapes
        self._latest: dict[str, dict[Key, Row]] = {}
        # Rows that a later wave changes again.
        self._overtaken: list[tuple[Key, Row]] = []
        # The parts of keys by which rows are deleted, by shape; a dict as a set that keeps the order.
        self._deleted: dict[ChangePlan, dict[Key, None]] = {}

    def merge(self, changes: Sequence[Change], kind: str = "", at: datetime | None = None) -> None:
        """Adds all of one event's changes, or none. `kind`, `at`: the event's type and time.

        Raises:
            UnsupportedValue: a change does not fit its table.
        """
        resolved: Iterable[Resolved] = self._shapes.resolve(changes, kind)
        if self._shapes.needs_preparation:
            resolved = self._prepared(resolved, at)
        for shape, key, values in resolved:
            latest = self._latest.get(shape.name)
            if latest is None:
                latest = self._latest[shape.name] = {}
            row = latest.get(key)
            if row is None:
                latest[key] = Row(0, shape, values)
                continue
            plan = self._shapes.merge_plan(row.shape, shape)
            try:
                combined = None if plan is None else plan.combine(row.values, values)
            except (TypeError, ArithmeticError):
                # Incompatible types, a decimal NaN, or a sum too large for Python: leave it to PostgreSQL.
                combined = None
            if plan is None or combined is None:
                self._overtaken.append((key, row))
                latest[key] = Row(row.wave + 1, shape, values)
            else:
                row.shape, row.values = plan.shape, combined

    def _prepared(self, resolved: Iterable[Resolved], at: datetime | None) -> Iterator[Resolved]:
        """Yields the changes with their times; applies a deletion by a part of the key after the changes before it."""
        for change in resolved:
            shape, part, values = change
            if shape.action is not RowAction.DELETE_ALL:
                yield (shape, part, (*values, at)) if shape.is_timed else change
                continue
            self._deleted.setdefault(shape, {})[part] = None
            latest = self._latest.get(shape.name, {})
            if not isinstance(latest, _RowsByPart):
                latest = self._latest[shape.name] = _RowsByPart(latest)
            delete = self._shapes.shape(shape.table, RowAction.DELETE)
            for key in latest.take(part):
                latest[key].shape, latest[key].values = delete, ()

    def groups(self) -> list[RowGroup]:
        """The changes grouped by wave and shape, in the order in which they must be written."""
        ordered = [RowGroup(shape, list(parts), [()] * len(parts)) for shape, parts in self._deleted.items()]
        groups: dict[tuple[int, ChangePlan], RowGroup] = {}
        for key, row in chain(self._overtaken, *(latest.items() for latest in self._latest.values())):
            kind = row.wave, row.shape
            group = groups.get(kind)
            if group is None:
                group = groups[kind] = RowGroup(row.shape, [], [])
            group.keys.append(key)
            group.values.append(row.values)
        for kind in sorted(groups, key=lambda kind: kind[0]):
            if kind[1].is_timed:
                ordered.append(self._ended(groups[kind]))
            ordered.append(groups[kind])
        return ordered

    def _ended(self, group: RowGroup) -> RowGroup:
        """The deletion of those rows that have ended before the changes of the group."""
        table = group.shape.table
        assert table.ends is not None
        shape = self._shapes.shape(table, RowAction.DELETE_ENDED, ((table.ends, MergeRule.SET),))
        return RowGroup(shape, group.keys, [values[-1:] for values in group.values])


class _RowsByPart(dict[Key, Row]):
    """Rows by key, which are found by the first columns of their keys as well."""

    def __init__(self, rows: Mapping[Key, Row]) -> None:
        super().__init__(rows)
        # By the number of columns and their values: the keys of rows that may not be deleted yet.
        self._keys: dict[int, dict[Key, dict[Key, None]]] = {}

    def __setitem__(self, key: Key, row: Row) -> None:
        super().__setitem__(key, row)
        for length, keys in self._keys.items():
            keys.setdefault(key[:length], {})[key] = None

    def take(self, part: Key) -> Iterable[Key]:
        """The keys that begin with this part and were written since the last call for it."""
        length = len(part)
        if length not in self._keys:
            keys = self._keys[length] = {}
            for key in self:
                keys.setdefault(key[:length], {})[key] = None
        return self._keys[length].pop(part, {})
