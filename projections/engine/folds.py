"""Folds: handlers that compute a row from its previous state and one event, in the order of the stream.

A fold owns its table: nothing else writes the rows, so the engine loads those that a batch needs with one statement,
folds in memory and writes them back with one statement.
"""

import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType, UnionType
from typing import Any, NamedTuple, TypeVar

import msgspec

from contracts.aggregate_types import AGGREGATE_TYPE_OF
from contracts.envelope import Recorded
from contracts.events.event import Event
from contracts.subjects import all_of, passes
from projections.engine.lookups import LOOKUPS, KeyOf, Lookup, check_lookups

Row = msgspec.Struct
FoldMethod = Callable[..., Row | None]
Marked = TypeVar("Marked", bound=Callable[..., Row | None])

FOLDS = "__folds__"
_NOTHING: Mapping[str, object] = MappingProxyType({})


class _Mark(NamedTuple):
    events: tuple[type[Event], ...]
    table: str
    key: str | KeyOf


def folds(*events: type[Event], table: str, key: str | KeyOf, **lookups: Lookup) -> Callable[[Marked], Marked]:
    """Marks a method `(self, row: Row | None, event: Recorded[…]) -> Row | None` as the fold of these events.

    The row is None if there is none; returning None deletes it. `Row` is a msgspec struct whose fields are columns of
    the table, without the key.

    `table`: the name inside the braces of the projection's DDL.
    `key`: the event's row by the columns of the primary key. A column's name alone stands for the id of the event's
        aggregate, in the only column of the key.
    `lookups`: rows of the projection's tables that the method gets as well, by the names of its parameters.
    """

    def mark(method: Marked) -> Marked:
        setattr(method, FOLDS, _Mark(events, table, key))
        setattr(method, LOOKUPS, lookups)
        return method

    return mark


class Fold(NamedTuple):
    """How the events of one type change the rows of a table."""

    table: str
    row: type[Row]
    method: FoldMethod
    # The column that holds the aggregate's id; None: `key` computes the key.
    aggregate_column: str | None
    key: KeyOf | None
    # The projection, the method and its line, for errors.
    location: str
    # The field with the time from which the row is gone.
    ends: str | None = None

    def apply(self, row: Row | None, event: Recorded[Any], found: Mapping[str, object] = _NOTHING) -> Row | None:
        """Returns the row after the event. A row that has ended by the event's time counts as absent.

        `found`: the rows that the method looks up.

        Raises:
            Exception: the method's error; TypeError if it returns something else than a row.
        """
        if self.ends is not None and row is not None:
            end = getattr(row, self.ends)
            row = None if end is not None and end <= event.at else row
        after = self.method(row, event, **found) if found else self.method(row, event)
        if after is not None and type(after) is not self.row:
            raise TypeError(f"{self.location}: it returns a {type(after).__name__} instead of a {self.row.__name__}")
        return after


class FoldedTable(msgspec.Struct, frozen=True):
    """A table that only folds write."""

    name: str
    row: type[Row]
    # The only stream whose events are folded into it.
    stream: str
    # The subjects of its events, as patterns.
    patterns: tuple[str, ...]
    # Whether each fold's key is the event's aggregate.
    is_by_aggregate: bool

    def may_fold(self, subject: str) -> bool:
        """Whether an event on the subject may be one that is folded into the table."""
        return any(passes(subject, pattern) for pattern in self.patterns)

    def has_aggregate_in_subject(self, subject: str) -> bool:
        """Whether the subject alone determines the row of an event that is folded into the table."""
        return self.is_by_aggregate and all(
            pattern.count("*") == 1 and pattern.endswith("*") for pattern in self.patterns if passes(subject, pattern)
        )

    def subjects_of(self, aggregate_id: str) -> str:
        """The narrowest pattern of subjects that has all events of a key; `aggregate_id`: of one of its events."""
        if len(self.patterns) > 1:
            return all_of(self.stream)
        (pattern,) = self.patterns
        if self.is_by_aggregate and pattern.count("*") == 1 and pattern.endswith("*"):
            return pattern[:-1] + aggregate_id
        return pattern


def location_of(projection: str, method: Any) -> str:  # noqa: ANN401 - a method has attributes that no type has
    """The projection, the method and its line, for errors."""
    return f"projection {projection}, {method.__name__} in line {method.__code__.co_firstlineno}"


def declared_folds(
    owner: object,
    name: str,
    streams: Collection[str],
    tables: Mapping[str, str | None],
    handled: Collection[str],
) -> dict[str, Fold]:
    """The folds of a projection by event type.

    `streams`: the projection's. `tables`: its tables, with the column of the time at which their rows end.
    `handled`: the event types that it handles otherwise.

    Raises:
        ValueError: a fold is not declared correctly.
    """
    declared: dict[str, Fold] = {}
    for method, mark in _marked(owner):
        location = location_of(name, method)
        check_lookups(method, location, tables)
        if mark.table not in tables:
            raise ValueError(f"{location}: there is no table {{{mark.table}}}")
        column, key = (mark.key, None) if isinstance(mark.key, str) else (None, mark.key)
        row, ends = _row_type(method, location), tables[mark.table]
        if ends is not None and ends not in row.__struct_fields__:
            raise ValueError(
                f"{location}: the rows of {{{mark.table}}} end at {ends}, which {row.__name__} has to have"
            )
        fold = Fold(mark.table, row, method, column, key, location, ends)
        for event in mark.events:
            if event.TYPE in handled or event.TYPE in declared:
                raise ValueError(
                    f"{location}: {event.__name__} has another handler; a folded event has only one: fold it in another"
                    " projection"
                )
            stream = AGGREGATE_TYPE_OF[event.TYPE].stream
            if stream not in streams:
                raise ValueError(f"{location}: {event.__name__} is not in the projection's streams, but in {stream}")
            declared[event.TYPE] = fold
    for table in {fold.table for fold in declared.values()}:
        _folded_table(table, declared)
    return declared


def folded_tables(declared: Mapping[str, Fold]) -> dict[str, FoldedTable]:
    """The tables that the folds own, by name."""
    return {name: _folded_table(name, declared) for name in dict.fromkeys(fold.table for fold in declared.values())}


def _folded_table(name: str, declared: Mapping[str, Fold]) -> FoldedTable:
    of_table = {kind: fold for kind, fold in declared.items() if fold.table == name}
    first = next(iter(of_table.values()))
    kinds = [AGGREGATE_TYPE_OF[kind] for kind in of_table]
    for kind, fold in of_table.items():
        if AGGREGATE_TYPE_OF[kind].stream != kinds[0].stream:
            raise ValueError(
                f"{fold.location}: a fold reads one stream, and {{{name}}} is folded from {kinds[0].stream} and"
                f" {AGGREGATE_TYPE_OF[kind].stream}"
            )
        if fold.row is not first.row:
            raise ValueError(
                f"{fold.location}: the rows of {{{name}}} are of one type, {first.row.__name__} or {fold.row.__name__}"
            )
    patterns = tuple(dict.fromkeys(kind.pattern for kind in kinds))
    is_by_aggregate = all(fold.aggregate_column is not None for fold in of_table.values())
    return FoldedTable(name, first.row, kinds[0].stream, patterns, is_by_aggregate)


def _marked(owner: object) -> Iterator[tuple[Any, _Mark]]:
    for attribute in dict.fromkeys(name for kind in reversed(type(owner).__mro__) for name in vars(kind)):
        method = getattr(owner, attribute, None)
        if isinstance(mark := getattr(method, FOLDS, None), _Mark):
            yield method, mark


def _row_type(method: Callable[..., object], location: str) -> type[Row]:
    """The struct of `-> Row | None`."""
    try:
        returned = typing.get_type_hints(method).get("return")
    except NameError as error:
        raise ValueError(f"{location}: its row type is unknown: {error}") from error
    parts = typing.get_args(returned) if typing.get_origin(returned) in (UnionType, typing.Union) else (returned,)
    rows = [part for part in parts if isinstance(part, type) and issubclass(part, Row)]
    if len(rows) != 1 or not set(parts) <= {*rows, type(None)}:
        raise ValueError(f"{location}: a fold returns a msgspec struct or None, as in `-> Row | None`")
    if not rows[0].__struct_fields__:
        raise ValueError(f"{location}: {rows[0].__name__} has no fields; a row has a column beside its key")
    return rows[0]
