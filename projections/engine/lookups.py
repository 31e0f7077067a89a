"""Lookups: the rows of its own projection that a handler or fold wants to see for an event, declared in advance.

    @handles(FriendshipAccepted, theirs=rows_of("friends", Friend, key=lambda event: {"user_id": event.actor}))
    def accepted(self, event: Recorded[FriendshipAccepted], write: RowChanges, theirs: list[Friend]) -> None: ...

The engine loads the rows of a batch with one statement per table, and applies the batch's events to them in order: a
handler sees its stream up to its event, and other streams as far as they are applied.
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import msgspec

from contracts.envelope import Recorded
from projections.engine.changes import Values

KeyOf = Callable[[Recorded[Any]], Values]

LOOKUPS = "__lookups__"


class Lookup(NamedTuple):
    # The name inside the braces of the projection's DDL.
    table: str
    row: type[msgspec.Struct]
    # The key, or the first of its columns, from the event.
    key: KeyOf
    # Whether it is a list of rows.
    is_many: bool


def row_of(table: str, row: type[msgspec.Struct], *, key: KeyOf) -> Lookup:
    """Looks up one row by its whole key; the handler gets a `row`, or None.

    `row`: its fields are columns of the table.
    """
    return Lookup(table, row, key, is_many=False)


def rows_of(table: str, row: type[msgspec.Struct], *, key: KeyOf) -> Lookup:
    """Looks up all rows whose keys begin with some columns; the handler gets a list in the order of the keys.

    `key`: the first columns of the primary key.
    """
    return Lookup(table, row, key, is_many=True)


def lookups_of(method: object) -> Mapping[str, Lookup]:
    """The lookups of a handler or fold, by the names of its parameters."""
    declared: Mapping[str, Lookup] = getattr(method, LOOKUPS, {})
    return declared


def check_lookups(method: Callable[..., object], location: str, tables: Collection[str]) -> None:
    """
    Raises:
        ValueError: a lookup cannot work; `location` names the method.
    """
    parameters = inspect.signature(method).parameters
    for name, lookup in lookups_of(method).items():
        if lookup.table not in tables:
            raise ValueError(
                f"{location}: it looks up {lookup.table}, which is not a table of this projection; those of others are"
                " closed, since they are at other positions"
            )
        if name not in parameters:
            raise ValueError(f"{location}: it has no parameter {name} for what it looks up")
