"""The looked-up rows under one prefix: as loaded and changed, and as handlers get them, in the order of their keys."""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from projections.engine.apply.merging.call_plans import Key
from projections.engine.apply.sequential.lookup_table import LookedUpRow

S = TypeVar("S", bound=msgspec.Struct)


class PrefixRows:
    """Each row is converted to a handler's type once, unless the handler could change what it gets."""

    __slots__ = ("_keys", "_rows", "_shared", "_stale")

    def __init__(self, rows: dict[Key, LookedUpRow]) -> None:
        self._rows = rows
        # In order; None as long as no rows were asked for.
        self._keys: list[Key] | None = None
        # By type: the rows in the order of the keys, and the keys of those that are to be converted again.
        self._shared: dict[type[msgspec.Struct], list[Any]] = {}
        self._stale: dict[type[msgspec.Struct], set[Key]] = {}

    def __iter__(self) -> Iterator[Key]:
        return iter(self._rows)

    def get(self, key: Key) -> LookedUpRow | None:
        return self._rows.get(key)

    def put(self, key: Key, row: LookedUpRow) -> None:
        """Adds or replaces a row."""
        is_new = key not in self._rows
        self._rows[key] = row
        if is_new and self._keys is not None:
            index = bisect_left(self._keys, key)
            self._keys.insert(index, key)
            for rows in self._shared.values():
                rows.insert(index, None)
        for stale in self._stale.values():
            stale.add(key)

    def remove(self, key: Key) -> None:
        """Removes a row, if it exists."""
        if self._rows.pop(key, None) is None or self._keys is None:
            return
        index = bisect_left(self._keys, key)
        del self._keys[index]
        for rows in self._shared.values():
            del rows[index]
        for stale in self._stale.values():
            stale.discard(key)

    def of_type(self, row_type: type[msgspec.Struct], *, is_immutable: bool) -> list[object]:
        """A new list of the rows; those of an immutable type are shared with earlier lists.

        Raises:
            msgspec.ValidationError: a row does not fit the type.
        """
        keys = self._keys
        if keys is None:
            keys = self._keys = sorted(self._rows)
        if not is_immutable:
            return [_converted(self._rows[key], row_type) for key in keys]
        rows = self._shared.get(row_type)
        if rows is None:
            rows = self._shared[row_type] = _all_converted([self._rows[key] for key in keys], row_type)
            self._stale[row_type] = set()
        stale = self._stale[row_type]
        while stale:
            key = next(iter(stale))
            rows[bisect_left(keys, key)] = _converted(self._rows[key], row_type)
            stale.remove(key)
        return rows.copy()


def _converted(row: LookedUpRow, row_type: type[msgspec.Struct]) -> msgspec.Struct:
    (named,) = _named([row], row_type)
    return msgspec.convert(named, row_type, strict=False)


def _all_converted(rows: list[LookedUpRow], row_type: type[S]) -> list[S]:
    """The rows as structs, in one call: there may be thousands for one event."""
    named = _named(rows, row_type)
    return msgspec.convert(named, list[row_type], strict=False)  # type: ignore[valid-type]  # known when it runs


def _named(rows: list[LookedUpRow], row_type: type[msgspec.Struct]) -> list[LookedUpRow]:
    """The rows with the names by which the struct is converted."""
    names, config = row_type.__struct_encode_fields__, row_type.__struct_config__
    if not config.forbid_unknown_fields and names == row_type.__struct_fields__:
        return rows
    fields = list(zip(row_type.__struct_fields__, names, strict=True))
    return [{name: row[field] for field, name in fields} for row in rows]
