"""Applies batches of messages to one build: rows, dead letters and checkpoint in one transaction.

The transaction moves the checkpoint only from where this process believes it to stand and only while the build is
in the state it was in: a second runner, a crash or a retry can neither apply an event twice nor skip one. After any
error but a refused row the filling is of no use any more; whoever drives it opens another from the database.
"""

import asyncio
import gc
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Self

from psycopg import errors

from contracts.envelope import Envelope, Recorded, open_event
from contracts.envelope import decode as decode_envelope
from contracts.events.event import Event
from contracts.positions import Position
from projections.engine.apply.batch import Batch, Step
from projections.engine.apply.change_plans import Shapes, Table
from projections.engine.apply.row_merging import MergedRows, RowGroup
from projections.engine.apply.statements import copy_data, copy_statement, statement
from projections.engine.changes import MergeRule, RowAction, RowChanges
from projections.engine.projection import Projection
from projections.engine.storage import builds, connections, dead_letters, lost_events, tables
from projections.engine.storage.builds import MOVE_CHECKPOINT, Build, Connection
from projections.engine.storage.dead_letters import (
    Counts,
    DeadLetter,
    DeadLetterState,
    Discards,
    keep_first_reason,
    reason_of,
)
from projections.engine.storage.pg_text import UnsupportedValue
from streams.loss.missing_events import Gap
from streams.message import Message

log = logging.getLogger(__name__)
# What PostgreSQL says of a row that it does not take: bad data, a constraint, one row twice, a value too large, JSON
# too deep.
REFUSALS = (
    errors.DataError,
    errors.IntegrityError,
    errors.CardinalityViolation,
    errors.ProgramLimitExceeded,
    errors.StatementTooComplex,
    UnsupportedValue,
)
_RATE_SECONDS = 1.0
# Fewer rows than these are merged in one round trip with everything else.
_COPIED_FROM = 500
_NOT_MOVED = "the checkpoint is not where it was left, or the build is not in use any more"


class BuildSuperseded(Exception):
    """The build is not what it was: another process applies to it, or another build took its place."""


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
    ) -> None:
        """`discards`: the events to skip, where not those that the database names."""
        self.build = build
        self._conn = conn
        self._handlers = projection().handlers()
        self._shapes = Shapes(known_tables)
        # Tables whose rows are all new.
        self._appended = {table.physical for table in known_tables.values() if table.name in projection.appended}
        self._written = {stream: position.sequence(stream) for stream in projection.filters()}
        # As it will be when all batches taken so far are written.
        self._taken = dict(self._written)
        self._standing = standing
        # Raised whenever other events than before are to be left out.
        self._knowledge = 0
        self._fixed_discards = discards
        self._rates = {stream: _Rate() for stream in self._written}

    @classmethod
    async def open(
        cls, conn: Connection, projection: type[Projection], build: Build, *, discards: Discards | None = None
    ) -> Self:
        """Takes up a build where its checkpoints stand.

        Raises:
            tables.BadTables: its tables are not there.
        """
        known = await tables.inspect(conn, projection, build)
        position = await builds.checkpoints(conn, build)
        return cls(conn, projection, build, known, position, await dead_letters.load_state(conn, build), discards)

    @property
    def position(self) -> Position:
        return Position(dict(self._written))

    @property
    def letters(self) -> Counts:
        """How many events could not be applied, and how many wait behind such a one."""
        return self._standing.counts

    def batch(self) -> Batch:
        return Batch(MergedRows(self._shapes), self._knowledge)

    def add_to_batch(
        self, batch: Batch, stream: str, messages: Sequence[Message], sequence: int, gaps: Sequence[Gap] = ()
    ) -> None:
        """Folds the messages into the batch, which moves the stream's checkpoint to `sequence`.

        `gaps`: where the stream has no event, up to `sequence`; they are kept with the build.
        Batches are written in the order in which they were taken; a next one may be taken while one is written.
        """
        before = self._taken[stream]
        if sequence <= before:
            return
        fresh = [message for message in messages if message.sequence > before]
        batch.move(stream, before, sequence, fresh)
        batch.gaps += [gap for gap in gaps if gap.last > before]
        self._taken[stream] = sequence
        # What a rebuild makes lives until its batch is written, or dies at once: looking for cycles in it again and
        # again, and then in all of the program, is in vain.
        collects = gc.isenabled()
        gc.disable()
        try:
            self._run_handlers(batch, fresh)
        finally:
            if collects:
                gc.enable()

    async def commit(self, batch: Batch) -> None:
        """Writes the batch; afterwards everything in its streams up to its sequences has been applied.

        Raises:
            BuildSuperseded: nothing was applied, since this is not the build's only writer or the build is not in use.
        """
        if not batch.moves:
            return
        begun = time.perf_counter()
        rates = {stream: self._rates[stream].after(len(fresh)) for stream, fresh in batch.messages.items()}
        while True:
            if batch.knowledge != self._knowledge:
                self._fold_again(batch)
            try:
                await self._commit(batch, rates)
                break
            except BuildSuperseded:
                # Where somebody has settled dead letters meanwhile, other events are to wait: once more, then.
                if not await self._reload_dead_letters():
                    raise
        known = len(self._standing.blocked)
        self._standing.add(batch.letters)
        self._knowledge += len(self._standing.blocked) != known
        self._written.update(batch.after)
        batch.seconds = time.perf_counter() - begun

    async def apply(self, stream: str, messages: Sequence[Message], sequence: int) -> None:
        """Takes the messages as one batch and writes it.

        Raises:
            BuildSuperseded: as `commit`.
        """
        batch = self.batch()
        self.add_to_batch(batch, stream, messages, sequence)
        await self.commit(batch)

    async def check(self) -> None:
        """Notices between batches that the connection is gone, the build was replaced or dead letters were settled.

        Raises:
            BuildSuperseded: the build is not in use any more.
        """
        if await dead_letters.revision(self._conn, self.build) != self._standing.revision:
            await self._reload_dead_letters()

    async def reapply(self, messages: Sequence[Message]) -> list[DeadLetter]:
        """Writes what can be written of messages that were dead letters, within the caller's transaction.

        Returns:
            What cannot, the first of each aggregate with its reason, those behind it without.
        """
        batch, steps = self.batch(), list[Step]()
        self._run_handlers(batch, messages, steps)
        await self._write_in_pieces(steps, batch.letters)
        return keep_first_reason(batch.letters)

    async def _reload_dead_letters(self) -> bool:
        """Whether the dead letters are others than was thought; they are known now.

        Raises:
            BuildSuperseded: the build is not in use any more.
        """
        standing = await dead_letters.load_state(self._conn, self.build)
        if standing.revision is None:
            raise BuildSuperseded("the build is not in use any more")
        heard = standing.revision != self._standing.revision
        self._standing = standing
        self._knowledge += heard
        return heard

    def _run_handlers(self, batch: Batch, messages: Sequence[Message], steps: list[Step] | None = None) -> None:
        """Runs the handlers; an event that they cannot take becomes a dead letter, and its aggregate waits.

        `steps` collects what each event does.
        """
        handlers_of, merge = self._handlers.get, batch.rows.merge
        blocked = self._standing.blocked | {letter.message.subject for letter in batch.letters}
        discards = self._standing.discards if self._fixed_discards is None else self._fixed_discards
        if discards:
            messages = [message for message in messages if (message.stream, message.sequence) not in discards]
        for message in messages:
            kind = "?"
            try:
                found = message.opened or decode_envelope(message.payload)
                kind = found.type
                handlers = handlers_of(kind)
                if handlers is None:
                    continue
                if message.subject in blocked:
                    batch.letters.append(DeadLetter(message=message, type=kind, reason=None))
                    continue
                event = found if isinstance(found, Recorded) else _open(found, message)
                write = RowChanges()
                for handler in handlers:
                    handler(event, write)
                merge(write.changes, kind)
            except Exception as error:  # whatever an event does to its handler, the others have to go on
                reason = None if message.subject in blocked else reason_of(error, kind)
                batch.letters.append(DeadLetter(message=message, type=kind, reason=reason))
                blocked.add(message.subject)
            else:
                if steps is not None:
                    steps.append(Step(message, kind, write.changes))

    def _fold_again(self, batch: Batch, steps: list[Step] | None = None) -> None:
        """Handlers are pure: what was taken once can be taken anew, knowing more."""
        batch.begin_anew(MergedRows(self._shapes), self._knowledge)
        for messages in batch.messages.values():
            self._run_handlers(batch, messages, steps)

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
        while True:
            try:
                await self._write(batch, moves)
                break
            except REFUSALS as refusal:
                if self._merges_from_now_on(refusal):
                    continue
            await self._commit_bisected(batch, moves)
            break

    async def _write(self, batch: Batch, moves: Sequence[tuple[object, ...]]) -> None:
        """All of it in one transaction: the usual small batch in one go, any other step by step.

        Raises:
            BuildSuperseded: nothing was written.
        """
        groups = batch.rows.groups()
        is_large = any(len(group.keys) >= _COPIED_FROM for group in groups)
        if is_large or len(moves) > 1 or batch.letters or batch.gaps:
            await self._write_in_steps(batch, moves, groups)
            return
        statements = [statement(group) for group in groups]
        try:
            # The commit goes along with the rest, and all answers are one wait: whatever fails on the way, here or
            # there, keeps the commit from being sent or from being carried out. Where the checkpoint is not moved the
            # statements do nothing.
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
        self, batch: Batch, moves: Sequence[tuple[object, ...]], groups: Sequence[RowGroup]
    ) -> None:
        async with self._conn.transaction():
            await self._move(moves)
            for group in groups:
                # Thousands of values become text at once: whoever else is served by this process has a turn before.
                await asyncio.sleep(0)
                if self._is_copied(group):
                    data = copy_data(group)
                    async with self._conn.cursor() as cursor, cursor.copy(copy_statement(group)) as copy:
                        await copy.write(data)
                else:
                    await self._conn.execute(*statement(group))
            await dead_letters.add(self._conn, self.build, batch.letters)
            await lost_events.add(self._conn, self.build, batch.gaps)

    async def _move(self, moves: Sequence[tuple[object, ...]]) -> None:
        for move in moves:
            _check_moved(await (await self._conn.execute(MOVE_CHECKPOINT, move)).fetchone())

    def _is_copied(self, group: RowGroup) -> bool:
        """Whether to insert the rows as if none of them was there yet, as the projection says of the table."""
        shape = group.shape
        return (
            len(group.keys) >= _COPIED_FROM
            and shape.action is RowAction.UPSERT
            and shape.table.physical in self._appended
            and all(how is MergeRule.SET for _, how in shape.columns)
        )

    def _merges_from_now_on(self, refusal: Exception) -> bool:
        """Whether the rows were refused only because they were not new, so that merging them may do."""
        if not isinstance(refusal, errors.UniqueViolation) or refusal.diag.table_name not in self._appended:
            return False
        log.warning(
            "%s: rows of %s are not all new, though its projection says so",
            self.build.projection,
            refusal.diag.table_name,
        )
        self._appended.discard(refusal.diag.table_name)
        return True

    async def _commit_bisected(self, batch: Batch, moves: Sequence[tuple[object, ...]]) -> None:
        # Only for this rare case are the events' changes kept apart.
        steps: list[Step] = []
        self._fold_again(batch, steps)
        async with self._conn.transaction():
            await self._move(moves)
            await self._write_in_pieces(steps, batch.letters)
            batch.letters = keep_first_reason(batch.letters)
            await dead_letters.add(self._conn, self.build, batch.letters)
            await lost_events.add(self._conn, self.build, batch.gaps)

    async def _write_in_pieces(self, steps: list[Step], letters: list[DeadLetter]) -> None:
        """Finds the events that PostgreSQL refuses by halving, and writes all others in their order."""
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
        """Writes the steps, or none of them and returns why."""
        rows = MergedRows(self._shapes)
        for step in steps:
            rows.merge(step.changes, step.type)
        try:
            async with self._conn.transaction():
                for group in rows.groups():
                    await self._conn.execute(*statement(group))
        except REFUSALS as refusal:
            return refusal
        return None


def _check_moved(answer: tuple[object, ...] | None) -> None:
    if answer != ("1",):
        raise BuildSuperseded(_NOT_MOVED)


def _open(envelope: Envelope, message: Message) -> Recorded[Event]:
    return open_event(envelope, stream=message.stream, sequence=message.sequence, subject=message.subject)


class _Rate:
    """Events a second, measured over at least a second so that one quick batch is no rate."""

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
