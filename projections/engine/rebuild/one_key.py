"""Rebuilds the rows of one key from the streams, in place, in one transaction, while the projection is applied.

The key is an id that subjects contain, such as that of an aggregate: its rows are those that events with the id in
their subject change. Or it is the key of a folded row, `TABLE:VALUE,VALUE`.

The rows follow from all events that change one of them, of whatever key. So two passes over the streams up to the
checkpoint find the rows, and then their events, which are applied in memory to these rows alone. Then a transaction
locks the build against its writer, applies the last events up to its checkpoint, and replaces the rows. It is limited
in time, since the service is held up by it: if it takes longer, nothing is changed, and it is tried again from where
the stream is then. A row that an event of the key changes for the first time after the first pass is left as the
service has written it.
"""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress

import msgspec
from nats.aio.client import Client as NATS
from psycopg import errors

from contracts.errors import Unavailable
from contracts.positions import Position
from infra.operator_errors import OperatorError
from projections.engine.apply.erasures import Erasures
from projections.engine.apply.loop_slices import in_slices
from projections.engine.dead_letters import discards
from projections.engine.definitions import Kind
from projections.engine.projection import Projection
from projections.engine.reading.stream_sources import SILENCE_SECONDS, Sources
from projections.engine.rebuild import cutover
from projections.engine.rebuild.changed_rows import ChangedRows, DeletesByPart, RowId
from projections.engine.rebuild.progress import RateEstimator, Report, ignore_progress
from projections.engine.rebuild.row_replacement import RowReplacement
from projections.engine.storage import builds, dead_letters, tables
from projections.engine.storage.builds import Build, Connection
from projections.engine.storage.dead_letters import reason_of
from projections.engine.storage.pg_text import REFUSALS, UnsupportedValue
from projections.engine.storage.tables import Table
from streams.message import Message

# The events that change the rows, and the rows; they are in memory together.
_MOST_EVENTS = 100_000
_MOST_ROWS = 100_000
# How many events may be left for the time while the build is locked, and how often to read on until no more are left.
_LAST_EVENTS = 500
_PASSES = 20
# Seconds for which the build may be locked, and how often to try.
_HOLD_SECONDS = 2.0
_ATTEMPTS = 3
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '10s'"
# `vestnik`, the service and the kind of aggregate.
_TOKENS_BEFORE_IDS = 3
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
        NotSeparable: too many events change these rows, or other rows or triggers do, or to write them takes too long.
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
        self._tables = known
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
                    raise NoSuchKey(self._projection, self._key, self._no_events())
            await self._read(begin, start, self._take)
            for _ in range(_ATTEMPTS):
                await self._read_on()
                skipped, replacement = await self._prepared()
                with suppress(TimeoutError):
                    done = await self._replace(skipped, replacement)
                    if done is not None:
                        return done
        except DeletesByPart as error:
            raise NotSeparable(self._projection, "rows are deleted by a part of their key") from error
        except errors.LockNotAvailable as error:
            raise BuildReplaced(self._projection) from error
        held_up = f"to replace them would hold up its service for more than {_HOLD_SECONDS:g} s"
        raise NotSeparable(self._projection, held_up)

    def _no_events(self) -> str:
        """The message for an id that no event has in its subject."""
        reason = "no event that changes rows has it in its subject"
        if not (folded := self._changed.folded_tables):
            return reason
        return f"{reason}; a row that events are folded into is named by its key, such as {folded[0]}:{self._key}"

    async def _read_on(self) -> None:
        """Reads up to the build's checkpoint, nearly: its writer goes on."""
        for _ in range(_PASSES):
            until = await builds.checkpoints(self._conn, self._build)
            if await self._read(self._position, until, self._take) <= _LAST_EVENTS:
                return

    async def _prepared(self) -> tuple[dead_letters.Discards, RowReplacement]:
        """Returns the events to skip, and the rows that follow from all others that were read."""
        skipped = await self._to_skip()
        replacement = RowReplacement(self._changed, self._rows)
        await replacement.add([event for event in self._events if _key_of(event) not in skipped])
        return skipped, replacement

    async def _to_skip(self) -> dead_letters.Discards:
        """The events that operators have discarded, and those that wait as dead letters."""
        discarded = await dead_letters.discards(self._conn, self._projection.name, self._projection.version)
        return discarded | await dead_letters.waiting(self._conn, self._build)

    async def _replace(self, skipped: dead_letters.Discards, replacement: RowReplacement) -> RebuiltKey | None:
        """Replaces the rows; None if others are to be skipped meanwhile, and nothing was changed.

        Raises:
            TimeoutError: it took too long, and nothing was changed.
        """
        conn, prepared = self._conn, len(self._events)
        before = self._position
        try:
            async with conn.transaction():
                await conn.execute(_LOCK_TIMEOUT)
                locked = await builds.lock_build(conn, self._build)
                async with asyncio.timeout(_HOLD_SECONDS):
                    live = await cutover.live_build(conn, self._projection)
                    if not locked or live is None or live.identity != self._build.identity:
                        raise BuildReplaced(self._projection)
                    position = await builds.checkpoints(conn, self._build)
                    await self._read(self._position, position, self._take)
                    if not self._events:
                        raise NoSuchKey(self._projection, self._key, "no event is folded into it")
                    skipped_now = await self._to_skip()
                    if any(_key_of(event) in skipped_now ^ skipped for event in self._events[:prepared]):
                        return None
                    last = [event for event in self._events[prepared:] if _key_of(event) not in skipped_now]
                    await replacement.add(last)
                    try:
                        await replacement.write(conn)
                        await self._erase(conn, replacement.owners)
                    except REFUSALS as refusal:
                        reason = f"PostgreSQL refuses a row: {reason_of(refusal)}"
                        raise NotSeparable(self._projection, reason) from refusal
                    # What is cached of the build is of the former rows; its writer opens it again.
                    await builds.renew_identity(conn, self._build)
        except TimeoutError:
            # Those of an interrupted read are read again.
            del self._events[prepared:]
            self._position = before
            raise
        return RebuiltKey(
            projection=self._projection.name,
            version=self._projection.version,
            build=self._build.build,
            key=self._key,
            rows=len(self._rows),
            events=replacement.events,
            position=dict(position.sequences),
        )

    async def _erase(self, conn: Connection, owners: set[str]) -> None:
        """Removes from the rows what older events still contain of users who have been erased since.

        `owners`: the users whose texts the rows may have; there may be far more who were erased.
        """
        erasures = await Erasures(self._projection, self._tables).load(conn)
        await erasures.write(conn, erasures.users & owners)

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
        """Adds the rows that the event changes, if its subject has the key.

        Raises:
            NotSeparable: there are too many.
        """
        if self._has_key(message):
            self._rows |= self._changed.of(message)
            if len(self._rows) > _MOST_ROWS:
                raise NotSeparable(self._projection, f"its events change more than {_MOST_ROWS:,} rows")

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
        """Whether the key is one of the subject's ids; the tokens before them name the service and what it is."""
        return self._key in message.subject.split(".")[_TOKENS_BEFORE_IDS:]


def _key_of(message: Message) -> tuple[str, int]:
    return message.stream, message.sequence
