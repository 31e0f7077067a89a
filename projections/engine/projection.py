"""A projection as its author writes it: a version, streams, tables, and a handler for each event that matters.

Everything else (batches, checkpoints, rebuilds, dead letters, waiting) is the engine's and looks at these attributes.
"""

import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from contracts.envelope import Recorded
from contracts.events.event import Event
from contracts.subjects import PUBLIC_FILTERS, STREAMS
from projections.engine.changes import RowChanges

Handler = Callable[[Recorded[Any], RowChanges], None]
Marked = TypeVar("Marked", bound=Callable[..., None])

_EVENTS = "__handles__"
_TABLE = re.compile(r"\bCREATE\s+(?:UNLOGGED\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?\{(\w+)\}", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def handles(*events: type[Event]) -> Callable[[Marked], Marked]:
    """Marks a method as the handler of these events."""

    def mark(method: Marked) -> Marked:
        setattr(method, _EVENTS, events)
        return method

    return mark


class Projection:
    """One read model. Handlers are pure: the same event always means the same writes, whatever the clock says.

    Attributes:
        name: snake_case of the class's name; names the projection everywhere.
        version: to be raised with any change of tables or handlers; the new version is built beside the old one.
        streams: the streams it reads, each with one subject filter or none; of a stream that is merely named, all that
            its service may read. Handlers of different streams commute.
        service: whose processes run it, and may query it; that which owns the first of the streams, if it says nothing.
        tables: `CREATE TABLE {friends} (…)` and indexes; every table has a primary key.
        appended: those of its tables in which every event writes rows under keys that no other event has, such as its
            sequence. In a rebuild they are copied in, for a quarter of the price of merging them.
        rest_seconds: for how long events gather between two batches while nobody waits for them, where that may be
            longer than the 20 to 100 ms that are usual: each batch has its price. No more than a second, within which
            whoever applies has to show that it is there.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    streams: ClassVar[Sequence[str] | Mapping[str, str | None]]
    service: ClassVar[str | None] = None
    tables: ClassVar[str]
    appended: ClassVar[Sequence[str]] = ()
    rest_seconds: ClassVar[float] = 0.0

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def filters(cls) -> dict[str, str | None]:
        """Each stream it reads with its one filter, or None for all of it.

        Raises:
            ValueError: there is no such stream, or no such service.
        """
        own, streams = cls.run_by(), cls.streams
        if isinstance(streams, Mapping):
            return dict(streams)
        return {stream: None if STREAMS[stream] == own else PUBLIC_FILTERS[stream] for stream in streams}

    @classmethod
    def run_by(cls) -> str:
        """The service that runs it.

        Raises:
            ValueError: there is no such stream, or no such service.
        """
        streams = list(cls.streams)
        if not streams or not set(streams) <= PUBLIC_FILTERS.keys():
            raise ValueError(
                f"projection {cls.name}: streams must be some of {', '.join(PUBLIC_FILTERS)}, such as (MESSAGING,)"
            )
        service = cls.service or STREAMS[streams[0]]
        services = [STREAMS[stream] for stream in PUBLIC_FILTERS]
        if service not in services:
            raise ValueError(f"projection {cls.name}: service must be one of {', '.join(services)}")
        return service

    @classmethod
    def check(cls) -> None:
        """Looks at the attributes, as far as this needs no server.

        Raises:
            Exception: what is wrong with one of them.
        """
        filters, tables = cls.filters(), cls.table_names()
        if not filters or not tables:
            raise ValueError(f"projection {cls.name}: it needs a stream and a table")
        if not set(cls.appended) <= set(tables):
            raise ValueError(f"projection {cls.name}: appended must be some of {', '.join(tables)}")
        cls().handlers()

    @classmethod
    def table_names(cls) -> tuple[str, ...]:
        """The names inside the braces of its CREATE TABLE statements, in order."""
        return tuple(dict.fromkeys(_TABLE.findall(cls.tables)))

    @classmethod
    def view(cls, table: str) -> str:
        """What readers select from: `friends_v3`, `conversations_messages_v1`."""
        if table not in cls.table_names():
            raise ValueError(f"projection {cls.name} has no table {table}")
        prefix = "" if table == cls.name or table.startswith(f"{cls.name}_") else f"{cls.name}_"
        return f"{prefix}{table}_v{cls.version}"

    @classmethod
    def with_tables(cls, text: str, names: Mapping[str, str]) -> str:
        """The text with every `{table}` of this projection replaced; other braces stay."""
        return _PLACEHOLDER.sub(lambda match: names.get(match[1], match[0]), text)

    @classmethod
    def code(cls) -> str | None:
        """A digest of the module that the projection is written in; None where its source is not at hand."""
        try:
            source = inspect.getsource(sys.modules[cls.__module__])
        except (OSError, TypeError):
            return None
        return hashlib.sha256(source.encode()).hexdigest()

    def handlers(self) -> dict[str, tuple[Handler, ...]]:
        """Event type to its handlers, in the order in which the class declares them."""
        found: dict[str, tuple[Handler, ...]] = {}
        for attribute in dict.fromkeys(name for kind in reversed(type(self).__mro__) for name in vars(kind)):
            method = getattr(self, attribute, None)
            events: tuple[type[Event], ...] = getattr(method, _EVENTS, ())
            for event in events:
                assert method is not None
                found[event.TYPE] = (*found.get(event.TYPE, ()), method)
        return found
