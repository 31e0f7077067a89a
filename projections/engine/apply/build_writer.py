"""Applies batches of messages to one build: rows, dead letters and checkpoint in one transaction.

The transaction moves the checkpoint only from the position that this process expects, and only while the build's state
is unchanged. So a second runner, a crash or a retry can neither apply an event twice nor skip one. After any error
except a refused row the writer is unusable; the caller opens a new one from the database.
"""

import asyncio
import gc
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from psycopg import errors

from contracts.envelope import Envelope, Recorded, open_event
from contracts.envelope import decode as decode_envelope
from contracts.events.event import Event
from contracts.positions import Position
from projections.engine.apply.batch import Batch, Step
from projections.engine.apply.change_plans import Shapes
from projections.engine.apply.erasures import ERASES, Erasures
from projections.engine.apply.loop_slices import in_slices
from projections.engine.apply.row_merging import MergedRows, RowGroup
from projections.engine.apply.sequential.events import KeyUnknown, SequentialEvent, unreadable
from projections.engine.apply.sequential.sequential_events import SequentialEvents
from projections.engine.apply.statements import copy_statement, lines_to_copy, statement
from projections.engine.changes import RowAction, RowChanges
from projections.engine.projection import Projection
from projections.engine.storage import builds, connections, dead_letters, lost_events, pauses, tables
from projections.engine.storage.builds import MOVE_CHECKPOINT, Build, Connection
from projections.engine.storage.dead_letters import (
    Counts,
    DeadLetter,
    DeadLetterState,
    Discards,
    keep_first_reason,
    reason_of,
)
from projections.engine.storage.pg_text import REFUSALS
from projections.engine.storage.tables import Table
from streams.loss.missing_events import Gap
from streams.message import Message

log = logging.getLogger(__name__)
_RATE_SECONDS = 1.0
# Smaller groups are merged in one round trip with everything else.
_COPIED_FROM = 500
# Rows whose COPY lines are encoded in one step.
_ENCODED_TOGETHER = 250
_MOST_WITH_LOOKUPS = 2_000
_NOT_MOVED = "the checkpoint was moved by another process, or the build is no longer in use"


class BuildSuperseded(Exception):
    """The build has changed: another process applies events to it, or another build has replaced it."""


class ProjectionPaused(Exception):
    """An operator has paused the projection."""


class BuildWriter:
    def __init__(
        self,
        conn: Connection,
        projection: type[Projection],
        build: Build,
        known_tables: dict[str, Table],
        position: Position,
        standing: DeadLetterState,
        discards: Discards | None = None,
        *,
        obeys_pauses: bool = False,
    ) -> None:
        """
        `discards`: the events to skip, instead of those in the database.
        `obeys_pauses`: writes nothing while the projection is paused.
        """
        self._obeys_pauses = obeys_pauses
        self.build = build
        self._conn = conn
        sequential = SequentialEvents(projection, known_tables)
        self._sequential = sequential if sequential.types else None
        # Of the events that are only merged.
        self._handlers = {} if sequential.has_lookups else projection().handlers()
        self._shapes = Shapes(known_tables, sequential.tables)
        self._erasures = Erasures(projection, known_tables)
        self._written = {stream: position.sequence(stream) for stream in projection.filters()}
        # The checkpoints once all batches taken so far are written.
        self._taken = dict(self._written)
        self._standing = standing
        # Incremented whenever the set of events to skip or park changes.
        self._knowledge = 0
        self._fixed_discards = discards
        self._rates = {stream: _Rate() for stream in self._written}

    @classmethod
    async def open(
        cls,
        conn: Connection,
        projection: type[Projection],
        build: Build,
        *,
        discards: Discards | None = None,
        obeys_pauses: bool = False,
    ) -> Self:
        """Opens a build at its checkpoints.

        Raises:
            tables.BadTables: its tables do not exist.
            ProjectionPaused: it is paused, and the writer obeys that.
        """
        known = await tables.inspect(conn, projection, build)
        position = await builds.checkpoints(conn, build)
        standing = await dead_letters.load_state(conn, build)
        writer = cls(conn, projection, build, known, position, standing, discards, obeys_pauses=obeys_pauses)
        await writer._erasures.load(conn)
        await writer._assert_not_paused()
        return writer

    @property
    def position(self) -> Position:
        return Position(dict(self._written))

    @property
    def letters(self) -> Counts:
        """The numbers of failed and of parked events."""
        return self._standing.counts

    @property
    def largest_batch(self) -> int | None:
        """Maximum events in a batch, if fewer than usual: what these look up is in memory together."""
        return _MOST_WITH_LOOKUPS if self._sequential is not None and self._sequential.has_lookups else None

    def batch(self) -> Batch:
        return Batch(MergedRows(self._shapes), self._knowledge)

    async def add_to_batch(
        self, batch: Batch, stream: str, messages: Sequence[Message], sequence: int, gaps: Sequence[Gap] = ()
    ) -> None:
        """Applies the messages to the batch, which moves the stream's checkpoint to `sequence`.

        `gaps`: the sequences up to `sequence` without an event; they are recorded with the build.
        Batches must be committed in the order in which they were filled; one may be filled while another is written.
        If cancelled, the batch holds all of the messages, and its commit runs the handlers again.
        """
        before = self._taken[stream]
        if sequence <= before:
            return
        fresh = [message for message in messages if message.sequence > before]
        batch.move(stream, before, sequence, fresh)
        batch.gaps += [gap for gap in gaps if gap.last > before]
        self._taken[stream] = sequence
        knowledge, batch.knowledge = batch.knowledge, None
        await self._run_handlers(batch, fresh)
        batch.knowledge = knowledge

    async def commit(self, batch: Batch) -> None:
        """Writes the batch; afterwards all events of its streams up to its sequences have been applied.

        Raises:
            BuildSuperseded: nothing was applied, since the build has another writer or is not in use.
            ProjectionPaused: nothing was applied, and the writer obeys pauses.
        """
        if not batch.moves:
            return
        begun = time.perf_counter()
        rates = {stream: self._rates[stream].after(len(fresh)) for stream, fresh in batch.messages.items()}
        while True:
            if batch.knowledge != self._knowledge:
                await self._run_handlers_again(batch)
            if self._sequential is not None and batch.sequential:
                # The rows are loaded as the previous batch has left them.
                batch.applied, waiting = await self._sequential.apply(self._conn, batch.sequential)
                if waiting:
                    batch.letters = keep_first_reason([*batch.letters, *waiting])
            try:
                await self._commit(batch, rates)
                break
            except BuildSuperseded:
                # If dead letters were resolved meanwhile, other events have to be parked: try again.
                if not await self._reload_dead_letters():
                    raise
        known = len(self._standing.blocked)
        self._standing.add(batch.letters)
        self._knowledge += len(self._standing.blocked) != known
        self._written.update(batch.after)
        batch.seconds = time.perf_counter() - begun

    async def apply(self, stream: str, messages: Sequence[Message], sequence: int) -> None:
        """Writes the messages as one batch.

        Raises:
            BuildSuperseded: as `commit`.
        """
        batch = self.batch()
        await self.add_to_batch(batch, stream, messages, sequence)
        await self.commit(batch)

    async def check(self) -> None:
        """Detects between batches that the connection is lost, the build was replaced or dead letters were resolved.

        Raises:
            BuildSuperseded: the build is no longer in use.
            ProjectionPaused: the projection was paused, and the writer obeys that.
        """
        if await dead_letters.revision(self._conn, self.build) != self._standing.revision:
            await self._reload_dead_letters()

    async def reapply(self, messages: Sequence[Message], before: Sequence[RowGroup] = ()) -> list[DeadLetter]:
        """Writes as many as possible of messages that were dead letters, in the caller's transaction.

        `before`: rows to write first.

        Returns:
            Those that failed, the first of each lane with a reason; those parked behind it have none.
        """
        for group in before:
            await self._conn.execute(*statement(group))
        await self._erasures.load(self._conn)
        batch, steps = self.batch(), list[Step]()
        await self._run_handlers(batch, messages, steps)
        await self._write_in_pieces(steps, batch.sequential, batch.letters)
        await self._erasures.write(self._conn, batch.erased)
        return keep_first_reason(batch.letters)

    async def _reload_dead_letters(self) -> bool:
        """Reloads the state of the dead letters; returns whether it has changed.

        Raises:
            BuildSuperseded: the build is no longer in use.
            ProjectionPaused: as `check`.
        """
        standing = await dead_letters.load_state(self._conn, self.build)
        if standing.revision is None:
            raise BuildSuperseded("the build is no longer in use")
        await self._assert_not_paused()
        heard = standing.revision != self._standing.revision
        self._standing = standing
        self._knowledge += heard
        return heard

    async def _assert_not_paused(self) -> None:
        """Called after the revision was read: a later pause changes it, so that the next batch is refused."""
        if self._obeys_pauses and await pauses.get(self._conn, self.build.projection, self.build.version) is not None:
            raise ProjectionPaused

    async def _run_handlers(self, batch: Batch, messages: Sequence[Message], steps: list[Step] | None = None) -> None:
        """Runs the handlers; an event that fails becomes a dead letter, and later ones of its aggregate are parked.

        `steps` collects the row changes of each event.
        """
        blocked = self._standing.blocked | {letter.lane for letter in batch.letters}
        discards = self._standing.discards if self._fixed_discards is None else self._fixed_discards
        if discards:
            messages = [message for message in messages if (message.stream, message.sequence) not in discards]
        async for part in in_slices(messages):
            # A rebuild's objects live until their batch is written, or are freed immediately: garbage collection would
            # find no cycles among them, and would scan the whole program.
            collects = gc.isenabled()
            gc.disable()
            try:
                self._handle(batch, part, blocked, steps)
            finally:
                if collects:
                    gc.enable()

    def _handle(self, batch: Batch, messages: Iterable[Message], blocked: set[str], steps: list[Step] | None) -> None:
        """`blocked`: the subjects and fold keys whose events are parked; those of failed events are added.

        Raises:
            KeyUnknown: the row that an event is folded into cannot be determined.
        """
        handlers_of, merge, sequential = self._handlers.get, batch.rows.merge, self._sequential
        erasures, erased = self._erasures, self._erasures.users
        for message in messages:
            kind = "?"
            try:
                envelope = message.opened or decode_envelope(message.payload)
                kind = envelope.type
                handlers = handlers_of(kind)
                if handlers is None:
                    if sequential is not None and kind in sequential.types:
                        batch.take(sequential.take(message, envelope, blocked))
                    continue
                if message.subject in blocked:
                    batch.letters.append(DeadLetter(message=message, type=kind, reason=None))
                    continue
                event = envelope if isinstance(envelope, Recorded) else _open(envelope, message)
                if erased:
                    event = erasures.emptied(event)
                write = RowChanges()
                for handler in handlers:
                    handler(event, write)
                merge(write.changes, kind, event.at)
                if kind == ERASES and erasures.are_kept:
                    erased.add(event.aggregate_id)
                    batch.erased[event.aggregate_id] = None
            except KeyUnknown:
                raise
            except Exception as error:  # an error in one event must not stop the others
                lane = sequential.lane_of_unreadable(message, error) if sequential is not None and kind == "?" else None
                batch.letters.append(unreadable(message, kind, error, blocked, lane))
            else:
                if steps is not None:
                    steps.append(Step(message, kind, write.changes, event.at))

    async def _run_handlers_again(self, batch: Batch, steps: list[Step] | None = None) -> None:
        """Runs the batch's handlers again with the current events to skip or park; possible since handlers are pure."""
        knowledge = self._knowledge
        batch.begin_again(MergedRows(self._shapes))
        for messages in batch.messages.values():
            await self._run_handlers(batch, messages, steps)
        batch.knowledge = knowledge

    async def _commit(self, batch: Batch, rates: Mapping[str, float]) -> None:
        moves = [
            (
                *self.build.id,
                self.build.state.value,
                self.build.identity,
                self._standing.revision,
                after,
                rates[stream],
                *self.build.id,
                stream,
                batch.before[stream],
            )
            for stream, after in batch.after.items()
        ]
        groups = batch.rows.groups() + batch.applied
        copied = [group for group in groups if _is_copied(group)]
        try:
            try:
                await self._write(batch, moves, groups, copied)
            except errors.UniqueViolation as refusal:
                if refusal.diag.table_name not in {group.shape.table.physical for group in copied}:
                    raise
                reason = refusal.diag.message_primary
                log.info("%s: some inserted rows exist already, and are merged: %s", self.build.projection, reason)
                await self._write(batch, moves, groups, [])
        except REFUSALS:
            await self._commit_bisected(batch, moves)

    async def _write(
        self,
        batch: Batch,
        moves: Sequence[tuple[object, ...]],
        groups: Sequence[RowGroup],
        copied: Sequence[RowGroup],
    ) -> None:
        """Writes the batch in one transaction: a small batch in one round trip, any other in steps.

        `copied`: the groups whose rows are copied in; all others are merged.

        Raises:
            BuildSuperseded: nothing was written.
        """
        is_large = any(len(group.keys) >= _COPIED_FROM for group in groups)
        if is_large or len(moves) > 1 or batch.letters or batch.gaps or batch.erased:
            await self._write_in_steps(batch, moves, groups, copied)
            return
        statements = [statement(group) for group in groups]
        try:
            # One round trip, including the commit. An error on either side keeps the commit from being sent or
            # executed. If the checkpoint is not moved, the statements do nothing.
            async with self._conn.pipeline() as pipeline, self._conn.cursor() as cursor, self._conn.cursor() as moved:
                await cursor.execute("BEGIN")
                await moved.execute(MOVE_CHECKPOINT, moves[0])
                for query, arrays in statements:
                    await cursor.execute(query, arrays)
                await cursor.execute("COMMIT")
                await pipeline.sync()
                answer = await moved.fetchone()
        except errors.Error:
            await self._conn.rollback()
            raise
        _check_moved(answer)
        await connections.end_pipeline_idle(self._conn)

    async def _write_in_steps(
        self,
        batch: Batch,
        moves: Sequence[tuple[object, ...]],
        groups: Sequence[RowGroup],
        copied: Sequence[RowGroup],
    ) -> None:
        async with self._conn.transaction():
            await self._move(moves)
            for group in groups:
                if group in copied:
                    await self._copy(group)
                else:
                    # Encoding thousands of values blocks the event loop: let other tasks run first.
                    await asyncio.sleep(0)
                    await self._conn.execute(*statement(group))
            await self._erasures.write(self._conn, batch.erased)
            await dead_letters.add(self._conn, self.build, batch.letters)
            await lost_events.add(self._conn, self.build, batch.gaps)

    async def _copy(self, group: RowGroup) -> None:
        lines: list[str] = []
        async for parts in in_slices(group.parts(_ENCODED_TOGETHER)):
            for part in parts:
                lines += lines_to_copy(part)
        # In approximate key order, so that neighbours in its index are written together.
        lines.sort()
        async with self._conn.cursor() as cursor, cursor.copy(copy_statement(group)) as copy:
            async for starts in in_slices(range(0, len(lines), _ENCODED_TOGETHER)):
                for start in starts:
                    rows = "\n".join(lines[start : start + _ENCODED_TOGETHER])
                    await copy.write(f"{rows}\n".encode())

    async def _move(self, moves: Sequence[tuple[object, ...]]) -> None:
        for move in moves:
            _check_moved(await (await self._conn.execute(MOVE_CHECKPOINT, move)).fetchone())

    async def _commit_bisected(self, batch: Batch, moves: Sequence[tuple[object, ...]]) -> None:
        # The changes are kept per event in this rare case only.
        steps: list[Step] = []
        await self._run_handlers_again(batch, steps)
        async with self._conn.transaction():
            await self._move(moves)
            await self._write_in_pieces(steps, batch.sequential, batch.letters)
            await self._erasures.write(self._conn, batch.erased)
            batch.letters = keep_first_reason(batch.letters)
            await dead_letters.add(self._conn, self.build, batch.letters)
            await lost_events.add(self._conn, self.build, batch.gaps)

    async def _write_in_pieces(
        self, steps: list[Step], events: Sequence[SequentialEvent], letters: list[DeadLetter]
    ) -> None:
        """Finds the events that PostgreSQL refuses by bisection, and writes all others in order."""
        if self._sequential is not None:
            await self._sequential.write_in_pieces(self._conn, events, letters)
        blocked: set[str] = set()
        pending = [steps]
        while pending:
            piece = [step for step in pending.pop() if not self._parked(step, blocked, letters)]
            refusal = await self._try(piece)
            if refusal is None:
                continue
            if len(piece) == 1:
                step = piece[0]
                letters.append(DeadLetter(message=step.message, type=step.type, reason=reason_of(refusal, step.type)))
                blocked.add(step.message.subject)
            else:
                half = len(piece) // 2
                pending += [piece[half:], piece[:half]]

    def _parked(self, step: Step, blocked: set[str], letters: list[DeadLetter]) -> bool:
        if step.message.subject not in blocked:
            return False
        letters.append(DeadLetter(message=step.message, type=step.type, reason=None))
        return True

    async def _try(self, steps: Sequence[Step]) -> Exception | None:
        """Writes all steps, or none; returns the refusal, if any."""
        rows = MergedRows(self._shapes)
        async for part in in_slices(steps):
            for step in part:
                rows.merge(step.changes, step.type, step.at)
        try:
            async with self._conn.transaction():
                for group in rows.groups():
                    await self._conn.execute(*statement(group))
        except REFUSALS as refusal:
            return refusal
        return None


def _is_copied(group: RowGroup) -> bool:
    """Whether to copy the rows in as new ones, whatever their merge rules."""
    return len(group.keys) >= _COPIED_FROM and group.shape.action is RowAction.INSERT


def _check_moved(answer: tuple[object, ...] | None) -> None:
    if answer != ("1",):
        raise BuildSuperseded(_NOT_MOVED)


def _open(envelope: Envelope, message: Message) -> Recorded[Event]:
    return open_event(envelope, stream=message.stream, sequence=message.sequence, subject=message.subject)


class _Rate:
    """Events per second, measured over at least one second."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._events = 0
        self._rate = 0.0

    def after(self, events: int) -> float:
        self._events += events
        elapsed = time.monotonic() - self._since
        if elapsed >= _RATE_SECONDS:
            self._rate = self._events / elapsed
            self._since, self._events = time.monotonic(), 0
        return self._rate
