"""The transaction that writes a batch: checkpoints, rows, erasures, dead letters and losses.

It begins with the checkpoints: each moves only from the position that this process expects, and only while the build's
state is unchanged.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from psycopg import errors

from projections.engine.apply.batch import Batch
from projections.engine.apply.erasures import Erasures
from projections.engine.apply.errors import BuildSuperseded
from projections.engine.apply.loop_slices import in_slices
from projections.engine.apply.merging.row_merging import RowGroup
from projections.engine.apply.writing.statements import copy_statement, lines_to_copy, statement
from projections.engine.changes import RowAction
from projections.engine.storage import connections, dead_letters, lost_events
from projections.engine.storage.builds import MOVE_CHECKPOINT, Build, Connection

log = logging.getLogger(__name__)
# Smaller groups are merged in one round trip with everything else.
_COPIED_FROM = 500
# Rows whose COPY lines are encoded in one step.
_ENCODED_TOGETHER = 250
_NOT_MOVED = "the checkpoint was moved by another process, or the build is no longer in use"
# The parameters of `MOVE_CHECKPOINT`.
Move = tuple[object, ...]


def moves_of(batch: Batch, build: Build, revision: int | None, rates: Mapping[str, float]) -> list[Move]:
    """The moves of the batch's checkpoints; `revision`: of the dead letters, `rates`: events per second by stream."""
    return [
        (
            *build.id,
            build.state.value,
            build.identity,
            revision,
            after,
            rates[stream],
            *build.id,
            stream,
            batch.before[stream],
        )
        for stream, after in batch.after.items()
    ]


class BatchTransaction:
    """Writes the batches of one build, each in one transaction."""

    def __init__(self, conn: Connection, build: Build, erasures: Erasures) -> None:
        self._conn = conn
        self._build = build
        self._erasures = erasures

    async def write(self, batch: Batch, moves: Sequence[Move], groups: Sequence[RowGroup]) -> None:
        """Writes the batch with these rows.

        Raises:
            BuildSuperseded: nothing was written.
            psycopg.Error, UnsupportedValue: a row is refused (`pg_text.REFUSALS`); nothing was written.
        """
        copied = [group for group in groups if _is_copied(group)]
        try:
            await self._write(batch, moves, groups, copied)
        except errors.UniqueViolation as refusal:
            if refusal.diag.table_name not in {group.shape.table.physical for group in copied}:
                raise
            reason = refusal.diag.message_primary
            log.info("%s: some inserted rows exist already, and are merged: %s", self._build.projection, reason)
            await self._write(batch, moves, groups, [])

    @asynccontextmanager
    async def begin(self, batch: Batch, moves: Sequence[Move]) -> AsyncIterator[None]:
        """Writes the batch in one transaction, in whose body the caller writes the rows.

        Raises:
            BuildSuperseded: the body does not run.
        """
        async with self._conn.transaction():
            await self._move(moves)
            yield
            await self._erasures.write(self._conn, batch.erased)
            await dead_letters.add(self._conn, self._build, batch.letters)
            await lost_events.add(self._conn, self._build, batch.gaps)

    async def _write(
        self, batch: Batch, moves: Sequence[Move], groups: Sequence[RowGroup], copied: Sequence[RowGroup]
    ) -> None:
        """Writes a small batch in one round trip, any other in steps.

        `copied`: the groups whose rows are copied in; all others are merged.
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
        self, batch: Batch, moves: Sequence[Move], groups: Sequence[RowGroup], copied: Sequence[RowGroup]
    ) -> None:
        async with self.begin(batch, moves):
            for group in groups:
                if group in copied:
                    await self._copy(group)
                else:
                    # Encoding thousands of values blocks the event loop: let other tasks run first.
                    await asyncio.sleep(0)
                    await self._conn.execute(*statement(group))

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

    async def _move(self, moves: Sequence[Move]) -> None:
        for move in moves:
            _check_moved(await (await self._conn.execute(MOVE_CHECKPOINT, move)).fetchone())


def _is_copied(group: RowGroup) -> bool:
    """Whether to copy the rows in as new ones, whatever their merge rules."""
    return len(group.keys) >= _COPIED_FROM and group.shape.action is RowAction.INSERT


def _check_moved(answer: tuple[object, ...] | None) -> None:
    if answer != ("1",):
        raise BuildSuperseded(_NOT_MOVED)
