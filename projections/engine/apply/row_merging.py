"""Merges a batch's row changes into one change per row, in waves that are written in order.

Within a wave every row occurs once, so its changes can be written set-based, table by table and in any order. A change
that cannot be merged into the previous one of its row (an insert after a delete, a sum after a maximum) goes into the
next wave. So the changes of each key keep the order of the events.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

import msgspec

from projections.engine.apply.change_plans import ChangePlan, Key, Shapes
from projections.engine.changes import Change


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

    def merge(self, changes: Sequence[Change], kind: str = "") -> None:
        """Adds all of one event's changes, or none. `kind`: the event's type.

        Raises:
            UnsupportedValue: a change does not fit its table.
        """
        for shape, key, values in self._shapes.resolve(changes, kind):
            latest = self._latest.get(shape.name)
            if latest is None:
                latest = self._latest[shape.name] = {}
            row = latest.get(key)
            if row is None:
                latest[key] = Row(0, shape, values)
                continue
            fold = self._shapes.fold(row.shape, shape)
            try:
                folded = None if fold is None else fold.combine(row.values, values)
            except (TypeError, ArithmeticError):
                # Incompatible types, a decimal NaN, or a sum too large for Python: leave it to PostgreSQL.
                folded = None
            if fold is None or folded is None:
                self._overtaken.append((key, row))
                latest[key] = Row(row.wave + 1, shape, values)
            else:
                row.shape, row.values = fold.shape, folded

    def groups(self) -> list[RowGroup]:
        """The changes grouped by wave and shape, in the order in which they must be written."""
        groups: dict[tuple[int, ChangePlan], RowGroup] = {}
        for key, row in chain(self._overtaken, *(latest.items() for latest in self._latest.values())):
            kind = row.wave, row.shape
            group = groups.get(kind)
            if group is None:
                group = groups[kind] = RowGroup(row.shape, [], [])
            group.keys.append(key)
            group.values.append(row.values)
        return [groups[kind] for kind in sorted(groups, key=lambda kind: kind[0])]
