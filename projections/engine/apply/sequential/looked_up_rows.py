"""The rows that a batch's events look up: loaded at once, then changed as the events are applied in order.

Only rows under a key or prefix that an event of the batch looks up are kept.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from projections.engine.apply.merging.call_plans import Key
from projections.engine.apply.sequential.lookup_table import LookedUpRow, LookupTable
from projections.engine.apply.sequential.prefix_rows import PrefixRows
from projections.engine.changes import Change, RowAction
from projections.engine.lookups import Lookup


class EventLookup(NamedTuple):
    """A lookup of one event: the parameter's name, its declaration, and the key or prefix to find."""

    name: str
    lookup: Lookup
    prefix: Key


class LookedUp:
    """The looked-up rows of one batch."""

    def __init__(self, tables: Mapping[str, LookupTable]) -> None:
        self._tables = tables
        # By table and length of the prefix: the rows under each prefix that is looked up.
        self._rows: dict[str, dict[int, dict[Key, PrefixRows]]] = {name: {} for name in tables}
        self.refused: dict[tuple[str, Key], Exception] = {}
        # Number of rows that were loaded.
        self.loaded = 0

    def add(self, table: str, prefixes: Iterable[Key], rows: Iterable[dict[Key, LookedUpRow]]) -> None:
        """Adds what was loaded for each of the prefixes."""
        for prefix, under in zip(prefixes, rows, strict=True):
            self.loaded += len(under)
            self._rows[table].setdefault(len(prefix), {})[prefix] = PrefixRows(under)

    def rows_for(self, lookups: Iterable[EventLookup]) -> dict[str, object]:
        """The looked-up rows of one event, by the names of the method's parameters.

        Raises:
            msgspec.ValidationError: a row does not fit its type.
        """
        rows_by_name: dict[str, object] = {}
        for name, lookup, prefix in lookups:
            if self.refused and (lookup.table, prefix) in self.refused:
                raise self.refused[lookup.table, prefix]
            prefix_rows = self._rows[lookup.table][len(prefix)][prefix]
            rows = prefix_rows.of_type(lookup.row, is_immutable=lookup.row in self._tables[lookup.table].immutable)
            rows_by_name[name] = rows if lookup.is_many else rows[0] if rows else None
        return rows_by_name

    def after(self, changes: Sequence[Change]) -> dict[tuple[str, Key], LookedUpRow | None]:
        """The looked-up rows that one event changes, as they are after it; nothing is kept yet.

        Raises:
            UnsupportedValue: as `LookupTable.changed`, or a key does not fit.
        """
        staged: dict[tuple[str, Key], LookedUpRow | None] = {}
        for change in changes:
            table = self._tables.get(change[1])
            if table is None:
                continue
            action, name, key = change[:3]
            if action is RowAction.DELETE_ALL:
                prefix = table.beginning(key)
                keys = {key for (of, key), row in staged.items() if of == name and row is not None}
                keys.update(key for rows in self._all(name) for key in rows)
                staged |= {(name, key): None for key in keys if key[: len(prefix)] == prefix}
                continue
            whole, columns = table.key(key)
            if (name, whole) not in staged:
                row, is_kept = self._kept(name, whole)
                if not is_kept:
                    continue
                staged[name, whole] = row
            staged[name, whole] = table.changed(staged[name, whole], columns, change)
        return staged

    def keep(self, staged: Mapping[tuple[str, Key], LookedUpRow | None]) -> None:
        """Keeps what `after` returned."""
        for (name, key), row in staged.items():
            for length, under in self._rows[name].items():
                rows = under.get(key[:length])
                if rows is None:
                    continue
                if row is None:
                    rows.remove(key)
                else:
                    rows.put(key, row)

    def keep_folded(self, name: str, key: Key, row: msgspec.Struct | None) -> None:
        """Keeps a row that an event was folded into."""
        table = self._tables.get(name)
        if table is not None:
            self.keep({(name, key): None if row is None else table.folded(key, row)})

    def _all(self, name: str) -> Iterable[PrefixRows]:
        return (rows for under in self._rows[name].values() for rows in under.values())

    def _kept(self, name: str, key: Key) -> tuple[LookedUpRow | None, bool]:
        """The row, and whether it is under a prefix that is looked up."""
        for length, under in self._rows[name].items():
            rows = under.get(key[:length])
            if rows is not None:
                return rows.get(key), True
        return None, False
