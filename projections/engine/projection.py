"""The base class of projections: a version, streams, tables, and a handler for each relevant event.

The engine does everything else from these attributes: batches, checkpoints, rebuilds, dead letters, waiting.
"""

import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import ClassVar, TypeVar

import msgspec

from contracts.aggregate_types import AGGREGATE_TYPE_OF
from contracts.events.event import Event, Moment
from contracts.services import OPERATOR, SERVICES
from contracts.subjects import PUBLIC_FILTERS, STREAMS
from projections.engine import definitions
from projections.engine.definitions import PLACEHOLDER, BadDefinition, Definition, Kind
from projections.engine.folds import Fold, declared_folds, location_of
from projections.engine.lookups import LOOKUPS, Lookup, check_lookups, lookups_of

Handler = Callable[..., None]
Marked = TypeVar("Marked", bound=Callable[..., None])

_EVENTS = "__handles__"
# Where projections begin, and reactions too.
FIRST = "first"
NOW = "now"
# The active runner has to show the database that it is alive.
_LONGEST_REST_SECONDS = 1.0
# Of PostgreSQL's names, in bytes; it cuts off the rest.
_LONGEST_NAME = 63
# Of the number of a build.
_BUILD_DIGITS = 3


def handles(*events: type[Event], **lookups: Lookup) -> Callable[[Marked], Marked]:
    """Marks a method `(self, event: Recorded[…], write: RowChanges) -> None` as the handler of these events.

    `lookups`: rows of the projection's tables that the method gets as well, by the names of its parameters.
    """

    def mark(method: Marked) -> Marked:
        setattr(method, _EVENTS, events)
        setattr(method, LOOKUPS, lookups)
        return method

    return mark


class Projection:
    """One read model. Handlers are pure: an event always leads to the same writes, independent of the clock.

    Attributes:
        name: the class's name in snake_case; identifies the projection everywhere.
        version: must be raised with every change of tables or handlers; the new version is built beside the old one.
        streams: the streams it reads, each with one subject filter or none; of a stream given by name alone, all events
            that the service may read: all of its own, the public ones of others, and for the operator's service every
            event of every stream. Handlers of different streams commute.
        service: the service whose processes run and may query it; by default the owner of the first stream.
        begin: where the version begins when it is started for the first time: with the `first` event of its streams,
            with those stored from `now` on, or with those that happened at a time in RFC 3339 or later. It is
            determined once, as a sequence per stream from which every build begins (reading/begin.py).
        tables: `CREATE TABLE {friends} (…)`, indexes, views, functions and triggers; every table has a primary key.
        expires: tables whose rows have an end, each with the column of the time, such as `{"invitations": "ends_at"}`.
            Readers do not see a row from then on, and an event that happens then or later does not find it.
        rest_seconds: the pause between two batches while no caller waits, where it may be longer than the usual 20 to
            100 ms; longer pauses make fewer batches. At most one second, the interval at which the active runner has to
            show the database that it is alive.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    streams: ClassVar[Sequence[str] | Mapping[str, str | None]]
    service: ClassVar[str | None] = None
    begin: ClassVar[str] = FIRST
    tables: ClassVar[str]
    expires: ClassVar[Mapping[str, str]] = {}
    rest_seconds: ClassVar[float] = 0.0

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def filters(cls) -> dict[str, str | None]:
        """Each stream with its subject filter, or None for the whole stream.

        Raises:
            ValueError: a stream or the service is unknown.
        """
        own, streams = cls.run_by(), cls.streams
        if isinstance(streams, Mapping):
            return dict(streams)
        return {stream: None if own in (STREAMS[stream], OPERATOR) else PUBLIC_FILTERS[stream] for stream in streams}

    @classmethod
    def run_by(cls) -> str:
        """The service that runs it.

        Raises:
            ValueError: a stream or the service is unknown.
        """
        streams = list(cls.streams)
        service = cls.service or (STREAMS.get(streams[0]) if streams else None)
        readable = STREAMS if service == OPERATOR else PUBLIC_FILTERS
        if not streams or not set(streams) <= readable.keys():
            raise ValueError(
                f"projection {cls.name}: streams must be among {', '.join(readable)}, such as (MESSAGING,)"
            )
        if service not in SERVICES:
            raise ValueError(f"projection {cls.name}: service must be one of {', '.join(SERVICES)}")
        return service

    @classmethod
    def begin_moment(cls) -> datetime | None:
        """The time at which it begins, if `begin` is one.

        Raises:
            ValueError: `begin` is none of `first`, `now` and a time with its zone.
        """
        if cls.begin in (FIRST, NOW):
            return None
        try:
            moment: datetime = msgspec.convert(cls.begin, Moment)
        except msgspec.ValidationError as error:
            raise ValueError(
                f'projection {cls.name}: begin must be "{FIRST}", "{NOW}" or a time with its zone, such as'
                ' "2026-01-31T00:00:00Z"'
            ) from error
        return moment

    @classmethod
    def check(cls) -> None:
        """Validates the attributes, as far as this needs no server.

        Raises:
            Exception: an attribute is invalid.
        """
        filters, tables = cls.filters(), cls.table_names()
        cls.begin_moment()
        if not 0.0 <= cls.rest_seconds <= _LONGEST_REST_SECONDS:
            raise ValueError(f"projection {cls.name}: rest_seconds is at most {_LONGEST_REST_SECONDS:g}")
        if not filters or not tables:
            raise ValueError(f"projection {cls.name}: a stream and a table are required")
        cls._check_names()
        for definition in cls.definitions():
            if definition.kind is Kind.TRIGGER and definition.name in cls.expires:
                raise ValueError(
                    f"{cls.at_line(definition.line)}: a table whose rows end has no trigger, since rows are removed at"
                    " any time after their end; use a view"
                )
            if definition.kind is Kind.UNIQUE_INDEX and definition.name in cls.expires:
                raise ValueError(
                    f"{cls.at_line(definition.line)}: a table whose rows end has no unique index, since a row that has"
                    " ended, and may or may not have been removed, would keep others from being written"
                )
        if unknown := cls.expires.keys() - set(tables):
            raise ValueError(f"projection {cls.name}: expires names {min(unknown)}, which is none of its tables")
        instance = cls()
        written = cls._tables_written_by_triggers()
        for fold in instance.folds().values():
            if fold.table in written:
                raise ValueError(f"{fold.location}: a trigger may write {{{fold.table}}}, which only folds may write")
            _check_unwritten(fold.method, fold.location, written)
        for handler in {handler for handlers in instance.handlers().values() for handler in handlers}:
            location = location_of(cls.name, handler)
            _check_read(handler, location, filters)
            check_lookups(handler, location, tables)
            _check_unwritten(handler, location, written)

    @classmethod
    def _check_names(cls) -> None:
        """
        Raises:
            ValueError: a name is not one of PostgreSQL, or too long for it.
        """
        if not re.fullmatch(r"[^\W\d]\w*", cls.name) or cls.name != cls.name.lower():
            raise ValueError(f"projection {cls.name}: a name is of small letters, digits and _, such as hours_of_day")
        for name, shown in cls.reader_names().items():
            longest = f"{shown}_b{'9' * _BUILD_DIGITS}{'_current' if name in cls.expires else ''}"
            if (excess := len(longest.encode()) - _LONGEST_NAME) > 0:
                raise ValueError(
                    f"projection {cls.name}: {{{name}}} is {shown} for readers and {longest} as a build, {excess} bytes"
                    f" more than the {_LONGEST_NAME} of PostgreSQL's names; shorten {name} or the projection's name"
                )

    @classmethod
    def table_names(cls) -> tuple[str, ...]:
        """The names inside the braces of its CREATE TABLE statements, in order."""
        return tuple(definition.name for definition in cls.definitions() if definition.kind is Kind.TABLE)

    @classmethod
    def definitions(cls) -> tuple[Definition, ...]:
        """The statements of `tables`.

        Raises:
            ValueError: one is not allowed.
        """
        try:
            return definitions.parse(cls.tables)
        except BadDefinition as error:
            raise ValueError(f"{cls.at_line(error.line)}: {error}") from error

    @classmethod
    def _tables_written_by_triggers(cls) -> set[str]:
        """The tables with a trigger before a change, and those that a trigger's function names."""
        written: set[str] = set()
        for definition in cls.definitions():
            if definition.kind is Kind.TRIGGER and re.search(r"\bBEFORE\b", definition.statement, re.IGNORECASE):
                written.add(definition.name)
            if definition.kind is Kind.TRIGGER_FUNCTION:
                written.update(PLACEHOLDER.findall(definition.statement))
        return written

    @classmethod
    def at_line(cls, line: int) -> str:
        """Names the projection and a line of `tables`, by its number in the file if that is known."""
        try:
            before, found, _ = inspect.getsource(sys.modules[cls.__module__]).partition(cls.tables)
        except (OSError, TypeError):
            before, found = "", ""
        where = f"line {line + before.count(chr(10))}" if found else f"line {line} of its tables"
        return f"projection {cls.name}, {where}"

    @classmethod
    def view_names(cls) -> tuple[str, ...]:
        """The names inside the braces of its CREATE VIEW statements, in order."""
        return tuple(definition.name for definition in cls.definitions() if definition.kind is Kind.VIEW)

    @classmethod
    def function_names(cls) -> tuple[str, ...]:
        """The names inside the braces of the functions that readers may call, in order."""
        return tuple(definition.name for definition in cls.definitions() if definition.kind is Kind.FUNCTION)

    @classmethod
    def view(cls, table: str) -> str:
        """The view that readers select from: `friends_v3`, `conversations_messages_v1`."""
        if table not in cls.table_names():
            raise ValueError(f"projection {cls.name} has no table {table}")
        return cls.reader_name(table)

    @classmethod
    def reader_name(cls, name: str) -> str:
        """The name by which readers find a table, view or function of the live build."""
        prefix = "" if name == cls.name or name.startswith(f"{cls.name}_") else f"{cls.name}_"
        return f"{prefix}{name}_v{cls.version}"

    @classmethod
    def reader_names(cls) -> dict[str, str]:
        """The names by which readers find the tables, views and functions, by the names inside the braces."""
        names = (*cls.table_names(), *cls.view_names(), *cls.function_names())
        return {name: cls.reader_name(name) for name in names}

    @classmethod
    def with_tables(cls, text: str, names: Mapping[str, str]) -> str:
        """The text with every `{table}` of this projection replaced; other braces stay."""
        return PLACEHOLDER.sub(lambda match: names.get(match[1], match[0]), text)

    @classmethod
    def code(cls) -> str | None:
        """SHA-256 of the projection's module source, in hex; None if the source is not available."""
        try:
            source = inspect.getsource(sys.modules[cls.__module__])
        except (OSError, TypeError):
            return None
        return hashlib.sha256(source.encode()).hexdigest()

    def folds(self) -> dict[str, Fold]:
        """Event types mapped to their folds.

        Raises:
            ValueError: a fold is not declared correctly.
        """
        tables = {table: self.expires.get(table) for table in self.table_names()}
        return declared_folds(self, self.name, self.filters(), tables, self.handlers())

    def handlers(self) -> dict[str, tuple[Handler, ...]]:
        """Event types mapped to their handlers, in the order of declaration."""
        handlers: dict[str, tuple[Handler, ...]] = {}
        for attribute in dict.fromkeys(name for kind in reversed(type(self).__mro__) for name in vars(kind)):
            method = getattr(self, attribute, None)
            events: tuple[type[Event], ...] = getattr(method, _EVENTS, ())
            for event in events:
                assert method is not None
                handlers[event.TYPE] = (*handlers.get(event.TYPE, ()), method)
        return handlers


def _check_read(handler: Handler, location: str, streams: Collection[str]) -> None:
    """
    Raises:
        ValueError: the handler would never get one of its events; `location` names it.
    """
    events: tuple[type[Event], ...] = getattr(handler, _EVENTS)
    for event in events:
        stream = AGGREGATE_TYPE_OF[event.TYPE].stream
        if stream not in streams:
            raise ValueError(f"{location}: {event.__name__} is not in the projection's streams, but in {stream}")


def _check_unwritten(method: Callable[..., object], location: str, written: Collection[str]) -> None:
    """
    Raises:
        ValueError: the method looks up a table that a trigger may write; `location` names the method.
    """
    for lookup in lookups_of(method).values():
        if lookup.table in written:
            raise ValueError(
                f"{location}: it looks up {lookup.table}, which a trigger may write; within a batch that would not be"
                " seen"
            )
