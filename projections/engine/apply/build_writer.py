"""Applies batches of messages to one build: rows, dead letters and checkpoint in one transaction.

A second runner, a crash or a retry can neither apply an event twice nor skip one. After any error except a refused row
the writer is unusable; the caller opens a new one from the database.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Self

from contracts.positions import Position
from projections.engine.apply.batch import Batch, Step
from projections.engine.apply.errors import BuildSuperseded, ProjectionPaused
from projections.engine.apply.event_handlers import EventHandlers
from projections.engine.apply.event_rate import EventRate
from projections.engine.apply.merging.row_merging import MergedRows, RowGroup
from projections.engine.apply.writing.batch_transaction import BatchTransaction, moves_of
from projections.engine.apply.writing.bisection import write_sequential, write_steps
from projections.engine.apply.writing.statements import statement
from projections.engine.projection import Projection
from projections.engine.storage import builds, dead_letters, pauses, tables
from projections.engine.storage.builds import Build, Connection
from projections.engine.storage.dead_letters import Counts, DeadLetter, DeadLetterState, Discards, keep_first_reason
from projections.engine.storage.pg_text import REFUSALS
from projections.engine.storage.tables import Table
from streams.loss.missing_events import Gap
from streams.message import Message


class BuildWriter:
    def __init__(
        self,
        conn: Connection,
        projection: type[Projection],
        build: Build,
        known_tables: dict[str, Table],
        position: Position,
        letter_state: DeadLetterState,
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
        self._handlers = EventHandlers(projection, known_tables)
        self._sequential = self._handlers.sequential
        self._shapes = self._handlers.shapes
        self._erasures = self._handlers.erasures
        self._transaction = BatchTransaction(conn, build, self._erasures)
        self._written = {stream: position.sequence(stream) for stream in projection.filters()}
        # The checkpoints once all batches taken so far are written.
        self._taken = dict(self._written)
        self._letter_state = letter_state
        # Incremented whenever the set of events to skip or park changes.
        self._knowledge = 0
        self._fixed_discards = discards
        self._rates = {stream: EventRate() for stream in self._written}

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
        letter_state = await dead_letters.load_state(conn, build)
        writer = cls(conn, projection, build, known, position, letter_state, discards, obeys_pauses=obeys_pauses)
        await writer._erasures.load(conn)
        await writer._assert_not_paused()
        return writer

    @property
    def position(self) -> Position:
        return Position(dict(self._written))

    @property
    def letters(self) -> Counts:
        """The numbers of failed and of parked events."""
        return self._letter_state.counts

    @property
    def largest_batch(self) -> int | None:
        """Maximum events in the next batch, if fewer than usual."""
        return None if self._sequential is None else self._sequential.largest_batch

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
        known = len(self._letter_state.blocked)
        self._letter_state.add(batch.letters)
        self._knowledge += len(self._letter_state.blocked) != known
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
        if await dead_letters.revision(self._conn, self.build) != self._letter_state.revision:
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
        await self._write_in_pieces(batch, steps)
        await self._erasures.write(self._conn, batch.erased)
        return keep_first_reason(batch.letters)

    async def _reload_dead_letters(self) -> bool:
        """Reloads the state of the dead letters; returns whether it has changed.

        Raises:
            BuildSuperseded: the build is no longer in use.
            ProjectionPaused: as `check`.
        """
        letter_state = await dead_letters.load_state(self._conn, self.build)
        if letter_state.revision is None:
            raise BuildSuperseded("the build is no longer in use")
        await self._assert_not_paused()
        changed = letter_state.revision != self._letter_state.revision
        self._letter_state = letter_state
        self._knowledge += changed
        return changed

    async def _assert_not_paused(self) -> None:
        """Called after the revision was read: a later pause changes it, so that the next batch is refused."""
        if self._obeys_pauses and await pauses.get(self._conn, self.build.projection, self.build.version) is not None:
            raise ProjectionPaused

    async def _run_handlers(self, batch: Batch, messages: Sequence[Message], steps: list[Step] | None = None) -> None:
        """Runs the handlers on the messages that are not discarded."""
        discards = self._letter_state.discards if self._fixed_discards is None else self._fixed_discards
        if discards:
            messages = [message for message in messages if (message.stream, message.sequence) not in discards]
        await self._handlers.run(batch, messages, self._letter_state.blocked, steps)

    async def _run_handlers_again(self, batch: Batch, steps: list[Step] | None = None) -> None:
        """Runs the batch's handlers again with the current events to skip or park; possible since handlers are pure."""
        knowledge = self._knowledge
        batch.begin_again(MergedRows(self._shapes))
        for messages in batch.messages.values():
            await self._run_handlers(batch, messages, steps)
        batch.knowledge = knowledge

    async def _commit(self, batch: Batch, rates: Mapping[str, float]) -> None:
        moves = moves_of(batch, self.build, self._letter_state.revision, rates)
        try:
            await self._transaction.write(batch, moves, batch.rows.groups() + batch.applied)
        except REFUSALS:
            # The changes are kept per event in this rare case only.
            steps: list[Step] = []
            await self._run_handlers_again(batch, steps)
            async with self._transaction.begin(batch, moves):
                await self._write_in_pieces(batch, steps)
                batch.letters = keep_first_reason(batch.letters)

    async def _write_in_pieces(self, batch: Batch, steps: list[Step]) -> None:
        """Writes the rows of all events but those that PostgreSQL refuses, which become dead letters."""
        if self._sequential is not None:
            await write_sequential(self._conn, self._sequential, batch.sequential, batch.letters)
        await write_steps(self._conn, self._shapes, steps, batch.letters)
