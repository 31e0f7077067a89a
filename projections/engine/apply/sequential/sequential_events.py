"""Applies events one after the other to rows that are loaded first: folds, and handlers of a projection with lookups.

An event that fails waits as a dead letter, and so do the later ones of its row, or of its aggregate if it is handled.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from contracts.aggregate_types import AGGREGATE_TYPE_OF
from contracts.envelope import Envelope, Recorded
from contracts.subjects import passes
from projections.engine.apply.loop_slices import in_slices
from projections.engine.apply.merging.call_plans import Key
from projections.engine.apply.merging.change_plans import Shapes
from projections.engine.apply.merging.row_merging import MergedRows, RowGroup
from projections.engine.apply.sequential.batch_size import BatchSize
from projections.engine.apply.sequential.events import (
    FoldEvent,
    HandledEvent,
    KeyUnknown,
    SequentialEvent,
    Stop,
    Unit,
    lane_of,
    open_once,
    unreadable,
)
from projections.engine.apply.sequential.fold_rows import FoldRows, Stored
from projections.engine.apply.sequential.keys import load_by_keys
from projections.engine.apply.sequential.looked_up_rows import EventLookup, LookedUp
from projections.engine.apply.sequential.lookup_table import LookupTable
from projections.engine.changes import RowChanges
from projections.engine.folds import FoldedTable, Row, folded_tables
from projections.engine.lookups import Lookup, lookups_of
from projections.engine.projection import Handler, Projection
from projections.engine.storage.builds import Connection
from projections.engine.storage.dead_letters import DeadLetter, aggregate_of, reason_of
from projections.engine.storage.pg_text import UnsupportedValue
from projections.engine.storage.tables import Table
from streams.message import Message


class Applied(NamedTuple):
    """The rows that follow from a batch's events, as groups to write, and the events that could not be applied."""

    groups: list[RowGroup]
    letters: list[DeadLetter]


class _Loaded(NamedTuple):
    """The rows of a batch before its events."""

    # By folded table: the columns of the rows that exist.
    stored: dict[str, dict[Key, Stored]]
    looked_up: LookedUp
    # Keys of folded tables that PostgreSQL refuses, with its error.
    refused: dict[tuple[str, Key], Exception]


class SequentialEvents:
    """The folds and lookups of one build."""

    def __init__(self, projection: type[Projection], known_tables: Mapping[str, Table]) -> None:
        """
        Raises:
            BadTables: a row type does not fit its table.
        """
        instance = projection()
        self._projection = projection.name
        self.folds = instance.folds()
        # The tables that only folds write, by name.
        self.tables: dict[str, FoldedTable] = folded_tables(self.folds)
        self._rows = {
            name: FoldRows(projection.name, known_tables[name], table.row) for name, table in self.tables.items()
        }
        handlers = instance.handlers()
        self._handled = handlers.keys()
        methods: list[Callable[..., object]] = [fold.method for fold in self.folds.values()]
        methods += [handler for of_type in handlers.values() for handler in of_type]
        lookups: dict[str, list[Lookup]] = {}
        for lookup in [lookup for method in methods for lookup in lookups_of(method).values()]:
            lookups.setdefault(lookup.table, []).append(lookup)
        self._lookup_tables = {
            name: LookupTable(
                projection.name, known_tables[name], of_table, self.tables[name].row if name in self.tables else None
            )
            for name, of_table in lookups.items()
        }
        # The handlers of events that are applied here: all of them, if any looks up rows.
        self.handlers: dict[str, tuple[Handler, ...]] = handlers if lookups else {}
        self.types = self.folds.keys() | self.handlers.keys()
        self._shapes = Shapes(known_tables, self.tables)
        self._batch_size = BatchSize()

    @property
    def has_lookups(self) -> bool:
        return bool(self._lookup_tables)

    @property
    def largest_batch(self) -> int | None:
        """Maximum events in a batch, if fewer than usual."""
        return self._batch_size.events if self._lookup_tables else None

    def lane_of_unreadable(self, message: Message, error: Exception) -> str | None:
        """The lane of an event whose type is unknown, if it is that of a folded row; None: no such event is folded.

        Raises:
            KeyUnknown: the row that the event may be folded into cannot be determined.
        """
        tables = [table for table in self.tables.values() if table.may_fold(message.subject)]
        if not tables:
            return None
        (table, *others) = tables
        # An event that may be handled as well would have to wait in two lanes.
        is_handled = any(passes(message.subject, AGGREGATE_TYPE_OF[kind].pattern) for kind in self._handled)
        if others or is_handled or not table.has_aggregate_in_subject(message.subject):
            raise KeyUnknown(self._projection, message, reason_of(error)) from error
        rows = self._rows[table.name]
        try:
            key = rows.key({rows.table.key[0]: aggregate_of(message.subject)})
        except UnsupportedValue as unfit:
            raise KeyUnknown(self._projection, message, reason_of(unfit)) from unfit
        return lane_of(table.name, key)

    def take(
        self, message: Message, envelope: Envelope | Recorded[Any], blocked: set[str]
    ) -> SequentialEvent | DeadLetter:
        """The event with what is needed to apply it; a dead letter if it waits or cannot be read.

        `blocked`: what waits; that of an event that cannot be read is added.

        Raises:
            KeyUnknown: the row that the event is folded into cannot be determined.
        """
        fold = self.folds.get(envelope.type)
        if fold is None:
            return self._take_handled(message, envelope, blocked)
        rows = self._rows[fold.table]
        key: Key | None = None
        try:
            if fold.aggregate_column is not None:
                key = rows.key({fold.aggregate_column: envelope.aggregate_id})
            event = open_once(envelope, message)
            if key is None:
                assert fold.key is not None
                key = rows.key(fold.key(event))
            lookups = self._lookups_for(fold.method, event) if self._lookup_tables else ()
        except Exception as error:
            if key is None:
                reason = reason_of(error, envelope.type)
                raise KeyUnknown(self._projection, message, reason, envelope.type) from error
            return unreadable(message, envelope.type, error, blocked, lane_of(fold.table, key))
        taken = FoldEvent(message, event, fold, key, lookups)
        return taken.letter(None) if blocked and taken.lane in blocked else taken

    async def apply(self, conn: Connection, events: Sequence[SequentialEvent]) -> Applied:
        """Loads the rows that the events need and applies the events to them; nothing is written."""
        stops: dict[Unit, Stop] = {}
        while True:
            loaded = await self._load(conn, events)
            folded: dict[str, dict[Key, Row | None]] = {name: {} for name in loaded.stored}
            merged = MergedRows(self._shapes)
            failed = await self._apply(events, loaded, stops, folded, merged)
            if not failed:
                break
            # A fold may have changed its row in place, and later events have seen what has failed: all begins again,
            # without the events that failed.
            stops |= failed
        self._batch_size.adapt(len(events), loaded.looked_up.loaded)
        groups = merged.groups()
        for name, rows in folded.items():
            groups += await self.groups(name, rows, loaded.stored[name])
        return Applied(groups, _letters(events, stops) if stops else [])

    async def groups(self, table: str, rows: Mapping[Key, Row | None], existing: Iterable[Key]) -> list[RowGroup]:
        """The row groups that write the rows of a folded table; one that is None is deleted if it exists."""
        return await self._rows[table].groups(rows, existing)

    def _take_handled(
        self, message: Message, envelope: Envelope | Recorded[Any], blocked: set[str]
    ) -> HandledEvent | DeadLetter:
        if message.subject in blocked:
            return DeadLetter(message=message, type=envelope.type, reason=None)
        try:
            event = open_once(envelope, message)
            handlers = tuple([(handler, self._lookups_for(handler, event)) for handler in self.handlers[event.type]])
        except Exception as error:
            return unreadable(message, envelope.type, error, blocked)
        return HandledEvent(message, event, handlers)

    def _lookups_for(self, method: Callable[..., object], event: Recorded[Any]) -> tuple[EventLookup, ...]:
        return tuple(
            [
                EventLookup(name, lookup, self._lookup_tables[lookup.table].prefix(lookup, lookup.key(event)))
                for name, lookup in lookups_of(method).items()
            ]
        )

    async def _load(self, conn: Connection, events: Iterable[SequentialEvent]) -> _Loaded:
        keys: dict[str, dict[Key, None]] = {}
        prefixes: dict[tuple[str, int], dict[Key, None]] = {}
        async for part in in_slices(events):
            for event in part:
                if type(event) is FoldEvent:
                    of_table = keys.get(event.fold.table)
                    if of_table is None:
                        of_table = keys[event.fold.table] = {}
                    of_table[event.key] = None
                for lookup in event.lookups:
                    prefixes.setdefault((lookup.lookup.table, len(lookup.prefix)), {})[lookup.prefix] = None
        loaded = _Loaded({name: {} for name in keys}, LookedUp(self._lookup_tables), {})
        for name, of_table in keys.items():
            async for piece, rows in load_by_keys(conn, list(of_table), self._rows[name].load):
                if isinstance(rows, Exception):
                    loaded.refused[name, piece[0]] = rows
                else:
                    loaded.stored[name] |= rows
        for (name, _), of_table in prefixes.items():
            table = self._lookup_tables[name]
            await table.read_defaults(conn)
            async for piece, found in load_by_keys(conn, list(of_table), table.load):
                if isinstance(found, Exception):
                    loaded.looked_up.refused[name, piece[0]] = found
                else:
                    loaded.looked_up.add(name, piece, found)
        return loaded

    async def _apply(
        self,
        events: Sequence[SequentialEvent],
        loaded: _Loaded,
        stops: Mapping[Unit, Stop],
        folded: Mapping[str, dict[Key, Row | None]],
        merged: MergedRows,
    ) -> dict[Unit, Stop]:
        """Applies all events before the stops; returns the first failure of each unit that fails."""
        failed: dict[Unit, Stop] = {}
        over: set[Unit] = set()
        async for part in in_slices(events):
            for event in part:
                if stops or failed:
                    unit = event.unit
                    if unit in failed or unit in over:
                        continue
                    if unit in stops and stops[unit][0] is event.message:
                        over.add(unit)
                        continue
                try:
                    if type(event) is FoldEvent:
                        self._fold(event, loaded, folded[event.fold.table])
                    else:
                        assert isinstance(event, HandledEvent)
                        _handle(event, loaded.looked_up, merged)
                except Exception as error:  # an error in one event must not stop the others
                    failed[event.unit] = event.message, reason_of(error, event.event.type)
        return failed

    def _fold(self, event: FoldEvent, loaded: _Loaded, rows: dict[Key, Row | None]) -> None:
        _, recorded, fold, key, lookups = event
        if key in rows:
            row = rows[key]
        else:
            if loaded.refused and (fold.table, key) in loaded.refused:
                raise loaded.refused[fold.table, key]
            before = loaded.stored[fold.table].get(key)
            row = None if before is None else self._rows[fold.table].row(before)
        if not self._lookup_tables:
            rows[key] = fold.apply(row, recorded)
            return
        rows[key] = fold.apply(row, recorded, loaded.looked_up.rows_for(lookups))
        loaded.looked_up.keep_folded(fold.table, key, rows[key])


def _handle(event: HandledEvent, looked_up: LookedUp, merged: MergedRows) -> None:
    write = RowChanges()
    for handler, lookups in event.handlers:
        handler(event.event, write, **looked_up.rows_for(lookups))
    after = looked_up.after(write.changes)
    merged.merge(write.changes, event.event.type, event.event.at)
    looked_up.keep(after)


def _letters(events: Iterable[SequentialEvent], stops: Mapping[Unit, Stop]) -> list[DeadLetter]:
    """The first failed event of each stopped unit, and the later ones, parked."""
    letters: list[DeadLetter] = []
    over: set[Unit] = set()
    for event in events:
        unit = event.unit
        if unit in over:
            letters.append(event.letter(None))
        elif unit in stops and stops[unit][0] is event.message:
            letters.append(event.letter(stops[unit][1]))
            over.add(unit)
    return letters
