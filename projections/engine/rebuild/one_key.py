"""Rebuilds the rows of one key from the streams, in place, in one transaction, while the projection is applied.

The key is an id that subjects contain, such as that of an aggregate: its rows are those that events with the id in
their subject change. Or it is the key of a folded row, `TABLE:VALUE,VALUE`.

The rows follow from all events that change one of them, of whatever key. So two passes over the streams up to the
checkpoint find the rows, and then their events. Then a transaction locks the build against its writer, reads the last
events up to its checkpoint, deletes the rows, and applies the events to these rows alone. A row that an event of the
key changes for the first time after the first pass is left as the service has written it.
"""

import asyncio
import re
from collections.abc import Callable

import msgspec
from nats.aio.client import Client as NATS
from psycopg import errors

from contracts.errors import Unavailable
from contracts.positions import Position
from infra.operator_errors import OperatorError
from projections.engine.apply.loop_slices import in_slices
from projections.engine.dead_letters import discards
from projections.engine.definitions import Kind
from projections.engine.projection import Projection
from projections.engine.reading.stream_sources import SILENCE_SECONDS, Sources
from projections.engine.rebuild import cutover
from projections.engine.rebuild.changed_rows import ChangedRows, DeletesByPart, RowId
from projections.engine.rebuild.progress import RateEstimator, Report, ignore_progress
from projections.engine.storage import builds, dead_letters, tables
from projections.engine.storage.builds import Build, Connection
from projections.engine.storage.dead_letters import reason_of
from projections.engine.storage.pg_text import REFUSALS, UnsupportedValue
from projections.engine.storage.tables import Table
from streams.message import Message

# That change the rows; they are in memory together.
_MOST_EVENTS = 100_000
# Read while the build is locked at most, if they arrive more slowly than they are read.
_LAST_EVENTS = 500
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '10s'"
# A whole token of a subject.
_ID = re.compile(r"[A-Za-z0-9_=-]{1,200}")


class NotSeparable(OperatorError):
    """The rows of one key cannot be rebuilt alone."""

    def __init__(self, projection: type[Projection], reason: str) -> None:
        super().__init__(
            f"the rows of one key of {projection.name} cannot be rebuilt alone: {reason};"
            f" `vestnik rebuild {projection.name}` rebuilds all of them"
        )


class NoSuchKey(OperatorError):
    """No event has the key, or it is not one."""

    def __init__(self, projection: type[Projection], key: str, why: str) -> None:
        super().__init__(f"{projection.name} has no rows of {key}: {why}")


class BuildReplaced(OperatorError):
    """The build changed meanwhile."""

    def __init__(self, projection: type[Projection]) -> None:
        super().__init__(f"{projection.name} was replaced, or its writer was busy; nothing was changed, try again")


class RebuiltKey(msgspec.Struct, frozen=True, kw_only=True):
    projection: str
    version: int
    build: int
    key: str
    # Rows that its events change, and all events that change one of them.
    rows: int
    events: int
    position: dict[str, int]


async def rebuild_key(
    conn: Connection, nc: NATS, projection: type[Projection], key: str, report: Report = ignore_progress
) -> RebuiltKey:
    """Rebuilds the key's rows of the live build.

    `conn`: in autocommit mode, for this operator alone, after `ensure_schema`.

    Raises:
        NotSeparable: too many events change these rows, or other rows or triggers do.
        NoSuchKey: there are no events of this key.
        CannotApply: the current code does not apply one of the events.
        BuildReplaced: try again.
        Unavailable: the database or NATS does not answer.
    """
    await discards.catch_up(conn, nc, projection.name)
    build = await cutover.live_build(conn, projection)
    if build is None:
        raise NotSeparable(projection, "it has no live build")
    known = await tables.inspect(conn, projection, build)
    return await _KeyRebuild(conn, nc, projection, build, known, key, report).run()


class _KeyRebuild:
    def __init__(
        self,
        conn: Connection,
        nc: NATS,
        projection: type[Projection],
        build: Build,
        known: dict[str, Table],
        key: str,
        report: Report,
    ) -> None:
        self._report = report
        # Passes over the streams, and the sum of the sequences that were passed.
        self._pace = RateEstimator()
        self._passed = self._total = 0
        self._conn = conn
        self._nc = nc
        self._projection = projection
        self._build = build
        self._key = key
        if any(definition.kind is Kind.TRIGGER for definition in projection.definitions()):
            raise NotSeparable(projection, "triggers change rows as well")
        self._changed = ChangedRows(projection, known)
        if self._changed.looks_up_rows:
            raise NotSeparable(projection, "its handlers look up other rows, which are no longer what they were")
        # The row that a folded key names; None: the key is an id.
        try:
            self._row = self._changed.folded_row(key)
        except UnsupportedValue as error:
            raise NoSuchKey(projection, key, str(error)) from error
        if self._row is None and not _ID.fullmatch(key):
            folded = ", or the key of a folded row as TABLE:VALUE,VALUE" if self._changed.folded_tables else ""
            raise NoSuchKey(projection, key, f"a key is an id{folded}")
        self._rows: set[RowId] = set() if self._row is None else {self._row}
        self._events: list[Message] = []
        self._skipped: dead_letters.Discards = frozenset()
        self._position = Position()

    async def run(self) -> RebuiltKey:
        self._skipped = await dead_letters.discards(self._conn, self._projection.name, self._projection.version)
        begin = await builds.begin_of(self._conn, self._build)
        start = await builds.checkpoints(self._conn, self._build)
        try:
            if self._row is None:
                # First which rows they are, then which events change them.
                await self._read(begin, start, self._add_rows)
                if not self._rows:
                    raise NoSuchKey(self._projection, self._key, "no event that changes rows has it in its subject")
            read = await self._read(begin, start, self._take)
            while read > _LAST_EVENTS:
                read = await self._read(self._position, await builds.checkpoints(self._conn, self._build), self._take)
            return await self._replace()
        except DeletesByPart as error:
            raise NotSeparable(self._projection, "rows are deleted by a part of their key") from error
        except errors.LockNotAvailable as error:
            raise BuildReplaced(self._projection) from error

    async def _replace(self) -> RebuiltKey:
        conn = self._conn
        async with conn.transaction():
            await conn.execute(_LOCK_TIMEOUT)
            locked = await builds.lock_build(conn, self._build)
            live = await cutover.live_build(conn, self._projection)
            if not locked or live is None or live.identity != self._build.identity:
                raise BuildReplaced(self._projection)
            position = await builds.checkpoints(conn, self._build)
            await self._read(self._position, position, self._take)
            if not self._events:
                raise NoSuchKey(self._projection, self._key, "no event is folded into it")
            skipped = await dead_letters.discards(conn, self._projection.name, self._projection.version)
            skipped |= await dead_letters.waiting(conn, self._build)
            events = [event for event in self._events if (event.stream, event.sequence) not in skipped]
            try:
                await self._changed.delete(conn, self._rows)
                await self._changed.apply(conn, events, self._rows)
            except REFUSALS as refusal:
                raise NotSeparable(self._projection, f"PostgreSQL refuses a row: {reason_of(refusal)}") from refusal
            # What is cached of the build is of the former rows; its writer opens it again.
            await builds.renew_identity(conn, self._build)
        return RebuiltKey(
            projection=self._projection.name,
            version=self._projection.version,
            build=self._build.build,
            key=self._key,
            rows=len(self._rows),
            events=len(events),
            position=dict(position.sequences),
        )

    async def _read(self, after: Position, until: Position, take: Callable[[Message], None]) -> int:
        """Passes the events between the two positions to `take`; returns their number."""
        events = 0
        filters = self._projection.filters()
        passed = {stream: after.sequence(stream) for stream in filters}
        self._total += sum(until.sequence(stream) - passed[stream] for stream in filters)
        name = f"rebuild-{self._projection.name}"
        async with Sources(self._nc, filters, after, name=name, until=until, reads_all=True) as sources:
            while not sources.at_end:
                try:
                    async with asyncio.timeout(SILENCE_SECONDS):
                        stream, piece = await sources.next()
                except TimeoutError as error:
                    raise Unavailable("NATS does not answer.") from error
                async for part in in_slices(piece.messages):
                    for message in part:
                        if (message.stream, message.sequence) not in self._skipped:
                            take(message)
                events += len(piece.messages)
                self._passed += piece.position - passed[stream]
                passed[stream] = piece.position
                self._report(self._pace.at(self._passed, self._total))
        self._position = until
        return events

    def _add_rows(self, message: Message) -> None:
        if self._has_key(message):
            self._rows |= self._changed.of(message)

    def _take(self, message: Message) -> None:
        """Adds the event if it changes one of the rows, whatever its key.

        Raises:
            NotSeparable: there are too many.
        """
        if self._changed.of(message) & self._rows:
            self._events.append(message)
            if len(self._events) > _MOST_EVENTS:
                raise NotSeparable(self._projection, f"more than {_MOST_EVENTS:,} events change its rows")

    def _has_key(self, message: Message) -> bool:
        return self._key in message.subject.split(".")
