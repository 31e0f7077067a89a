"""Folds what a batch of events does to rows into one change a row, in waves whose order matters.

Within a wave every row occurs once, so that its changes can be written table by table, in any order and set-based.
What cannot be folded into the change before it (an insert after a delete, a sum after a maximum) goes into the next
wave; hence the order kept for each key is the order of the events.
"""

from collections.abc import Sequence
from itertools import chain

import msgspec

from projections.engine.apply.change_plans import ChangePlan, Key, Shapes
from projections.engine.changes import Change


class Row(msgspec.Struct, gc=False):
    """What becomes of one row; the values are those of the shape's columns."""

    wave: int
    shape: ChangePlan
    values: Sequence[object]


class RowGroup(msgspec.Struct, frozen=True):
    """Rows of one shape, none of which occurs twice."""

    shape: ChangePlan
    keys: list[Key]
    values: list[Sequence[object]]


class MergedRows:
    """The changes of a batch."""

    def __init__(self, shapes: Shapes) -> None:
        self._shapes = shapes
        self._latest: dict[str, dict[Key, Row]] = {}
        # Rows that a later wave changes once more.
        self._overtaken: list[tuple[Key, Row]] = []

    def merge(self, changes: Sequence[Change], kind: str = "") -> None:
        """Adds one event's changes, all of them or none. `kind`: its type.

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
                # Of kinds that do not mix, a decimal that is no number, a sum too large for us: PostgreSQL may know.
                folded = None
            if fold is None or folded is None:
                self._overtaken.append((key, row))
                latest[key] = Row(row.wave + 1, shape, values)
            else:
                row.shape, row.values = fold.shape, folded

    def groups(self) -> list[RowGroup]:
        """The rows by wave and shape, in the order in which they have to be written."""
        found: dict[tuple[int, ChangePlan], RowGroup] = {}
        for key, row in chain(self._overtaken, *(latest.items() for latest in self._latest.values())):
            kind = row.wave, row.shape
            group = found.get(kind)
            if group is None:
                group = found[kind] = RowGroup(row.shape, [], [])
            group.keys.append(key)
            group.values.append(row.values)
        return [found[kind] for kind in sorted(found, key=lambda kind: kind[0])]
