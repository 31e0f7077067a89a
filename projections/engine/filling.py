"""Applies batches of messages to one build: rows, dead letters and checkpoint in one transaction.

The transaction moves the checkpoint only from where this process believes it to stand and only while the build is
in the state it was in: a second runner, a crash or a retry can neither apply an event twice nor skip one. After any
error but a refused row the filling is of no use any more; whoever drives it opens another from the database.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple, Self

from psycopg import AsyncCursor, errors

from contracts.envelope import decode as decode_envelope
from contracts.envelope import open_event
from contracts.positions import Position
from projections.engine import builds, dead_letters, tables
from projections.engine.builds import MOVE_CHECKPOINT, Build, Connection
from projections.engine.dead_letters import DeadLetter, reason_of
from projections.engine.literals import Unwritable
from projections.engine.projection import Projection
from projections.engine.rows import Rows, Table
from projections.engine.statements import statements
from projections.engine.write import Change, Write
from streams.message import Message

# What PostgreSQL says of a row that it does not take: bad data, a constraint, one row twice, a value too large.
REFUSALS = (
    errors.DataError,
    errors.IntegrityError,
    errors.CardinalityViolation,
    errors.ProgramLimitExceeded,
    Unwritable,
)
_RATE_SECONDS = 1.0


class Superseded(Exception):
    """The build is not what it was: another process applies to it, or another build took its place."""


class Step(NamedTuple):
    """One event and what it does."""

    message: Message
    type: str
    changes: list[Change]


class _Handled(NamedTuple):
    """A batch after its handlers: what to write, and what they could not take."""

    rows: Rows
    letters: list[DeadLetter]


class Filling:
    def __init__(
        self,
        conn: Connection,
        projection: type[Projection],
        build: Build,
        known_tables: dict[str, Table],
        position: Position,
        blocked: set[str],
    ) -> None:
        self.build = build
        self._conn = conn
        self._handlers = projection().handlers()
        self._tables = known_tables
        self._sequences = {stream: position.of(stream) for stream in projection.filters()}
        # Subjects of aggregates whose events wait behind a dead letter.
        self._blocked = blocked
        self._rates = {stream: _Rate() for stream in self._sequences}

    @classmethod
    async def open(cls, conn: Connection, projection: type[Projection], build: Build) -> Self:
        """Takes up a build where its checkpoints stand.

        Raises:
            tables.BadTables: its tables are not there.
        """
        known = await tables.inspect(conn, projection, build)
        position = await builds.checkpoints(conn, build)
        return cls(conn, projection, build, known, position, await dead_letters.blocked_subjects(conn, build))

    @property
    def position(self) -> Position:
        return Position(dict(self._sequences))

    @property
    def blocked(self) -> int:
        """How many aggregates wait behind a dead letter."""
        return len(self._blocked)

    async def apply(self, stream: str, messages: Sequence[Message], sequence: int) -> None:
        """Applies the messages; afterwards everything in the stream up to `sequence` has been applied.

        Raises:
            Superseded: nothing was applied, since this is not the build's only writer or the build is not in use.
        """
        before = self._sequences[stream]
        if sequence <= before:
            return
        fresh = [message for message in messages if message.sequence > before]
        handled = self._handle(fresh)
        move = (
            *self.build.id,
            self.build.state.value,
            self.build.identity,
            sequence,
            self._rates[stream].after(len(fresh)),
            *self.build.id,
            stream,
            before,
        )
        try:
            await self._commit(stream, move, handled)
        except REFUSALS:
            # Handlers are pure: only for this rare case are the events' changes kept apart.
            steps: list[Step] = []
            handled = self._handle(fresh, steps)
            await self._commit_in_pieces(stream, move, steps, handled.letters)
        self._blocked.update(letter.message.subject for letter in handled.letters)
        self._sequences[stream] = sequence

    def _handle(self, messages: Sequence[Message], steps: list[Step] | None = None) -> _Handled:
        """Runs the handlers; an event that they cannot take becomes a dead letter, and its aggregate waits.

        `steps` collects what each event does.
        """
        rows, letters = handled = _Handled(Rows(self._tables), [])
        blocked = set(self._blocked)
        for message in messages:
            kind = "?"
            try:
                envelope = decode_envelope(message.payload)
                kind = envelope.type
                handlers = self._handlers.get(kind)
                if handlers is None:
                    continue
                if message.subject in blocked:
                    letters.append(DeadLetter(message=message, type=kind, reason=None))
                    continue
                event = open_event(envelope, stream=message.stream, sequence=message.sequence, subject=message.subject)
                write = Write()
                for handler in handlers:
                    handler(event, write)
                rows.merge(write.changes)
            except Exception as error:  # whatever an event does to its handler, the others have to go on
                letters.append(DeadLetter(message=message, type=kind, reason=reason_of(error)))
                blocked.add(message.subject)
            else:
                if steps is not None:
                    steps.append(Step(message, kind, write.changes))
        return handled

    async def _commit(self, stream: str, move: tuple[object, ...], handled: _Handled) -> None:
        """All of it in one go; the server's answers are only waited for before the commit."""
        writes = list(statements(self._tables, handled.rows))
        async with self._conn.pipeline() as pipeline, self._conn.transaction():
            moved = await self._conn.execute(MOVE_CHECKPOINT, move)
            for statement, arrays in writes:
                await self._conn.execute(statement, arrays)
            await dead_letters.add(self._conn, self.build, stream, handled.letters)
            await pipeline.sync()
            _must_have_moved(moved)

    async def _commit_in_pieces(
        self, stream: str, move: tuple[object, ...], steps: list[Step], letters: list[DeadLetter]
    ) -> None:
        """Finds the events that PostgreSQL refuses by halving, and applies all others in their order."""
        async with self._conn.transaction():
            _must_have_moved(await self._conn.execute(MOVE_CHECKPOINT, move))
            blocked: set[str] = set()
            pending = [steps]
            while pending:
                piece = [step for step in pending.pop() if not self._parked(step, blocked, letters)]
                refusal = await self._try(piece)
                if refusal is None:
                    continue
                if len(piece) == 1:
                    step = piece[0]
                    letters.append(DeadLetter(message=step.message, type=step.type, reason=reason_of(refusal)))
                    blocked.add(step.message.subject)
                else:
                    half = len(piece) // 2
                    pending += [piece[half:], piece[:half]]
            await dead_letters.add(self._conn, self.build, stream, letters)

    def _parked(self, step: Step, blocked: set[str], letters: list[DeadLetter]) -> bool:
        if step.message.subject not in blocked:
            return False
        letters.append(DeadLetter(message=step.message, type=step.type, reason=None))
        return True

    async def _try(self, steps: Sequence[Step]) -> Exception | None:
        """Writes the steps, or none of them and returns why."""
        rows = Rows(self._tables)
        for step in steps:
            rows.merge(step.changes)
        try:
            async with self._conn.transaction():
                for statement, arrays in statements(self._tables, rows):
                    await self._conn.execute(statement, arrays)
        except REFUSALS as refusal:
            return refusal
        return None


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


def _must_have_moved(cursor: AsyncCursor[tuple[object, ...]]) -> None:
    if cursor.rowcount != 1:
        raise Superseded("the checkpoint is not where it was left, or the build is not in use any more")
