"""Finds the events whose rows PostgreSQL refuses, by bisection, and writes the rows of all others.

All of it runs in the caller's transaction.
"""

from collections.abc import Iterable, Sequence

from projections.engine.apply.batch import Step
from projections.engine.apply.loop_slices import in_slices
from projections.engine.apply.merging.change_plans import Shapes
from projections.engine.apply.merging.row_merging import MergedRows, RowGroup
from projections.engine.apply.sequential.events import SequentialEvent
from projections.engine.apply.sequential.sequential_events import SequentialEvents
from projections.engine.apply.writing.statements import statement
from projections.engine.storage.builds import Connection
from projections.engine.storage.dead_letters import DeadLetter, reason_of
from projections.engine.storage.pg_text import REFUSALS


async def write_steps(conn: Connection, shapes: Shapes, steps: Sequence[Step], letters: list[DeadLetter]) -> None:
    """Writes the steps in order; `letters` gets the events that wait."""
    blocked: set[str] = set()
    pending = [steps]
    while pending:
        piece = [step for step in pending.pop() if not _parked(step, blocked, letters)]
        refusal = await _try_steps(conn, shapes, piece)
        if refusal is None:
            continue
        if len(piece) == 1:
            step = piece[0]
            letters.append(DeadLetter(message=step.message, type=step.type, reason=reason_of(refusal, step.type)))
            blocked.add(step.message.subject)
        else:
            half = len(piece) // 2
            pending += [piece[half:], piece[:half]]


async def write_sequential(
    conn: Connection, sequential: SequentialEvents, events: Sequence[SequentialEvent], letters: list[DeadLetter]
) -> None:
    """Applies the events in order and writes their rows; `letters` gets the events that wait."""
    blocked: set[str] = set()
    pending = [events]
    while pending:
        piece: list[SequentialEvent] = []
        for event in pending.pop():
            if event.lane in blocked:
                letters.append(event.letter(None))
            else:
                piece.append(event)
        if not piece:
            continue
        applied = await sequential.apply(conn, piece)
        refusal = await _try(conn, applied.groups)
        if refusal is None:
            letters += applied.letters
            blocked.update(letter.lane for letter in applied.letters)
        elif len(piece) == 1:
            letters.append(piece[0].letter(reason_of(refusal, piece[0].event.type)))
            blocked.add(piece[0].lane)
        else:
            half = len(piece) // 2
            pending += [piece[half:], piece[:half]]


def _parked(step: Step, blocked: set[str], letters: list[DeadLetter]) -> bool:
    if step.message.subject not in blocked:
        return False
    letters.append(DeadLetter(message=step.message, type=step.type, reason=None))
    return True


async def _try_steps(conn: Connection, shapes: Shapes, steps: Sequence[Step]) -> Exception | None:
    """Writes all steps, or none; returns the refusal, if any."""
    rows = MergedRows(shapes)
    async for part in in_slices(steps):
        for step in part:
            rows.merge(step.changes, step.type, step.at)
    return await _try(conn, rows.groups())


async def _try(conn: Connection, groups: Iterable[RowGroup]) -> Exception | None:
    """Writes all groups, or none; returns the refusal, if any."""
    try:
        async with conn.transaction():
            for group in groups:
                await conn.execute(*statement(group))
    except REFUSALS as refusal:
        return refusal
    return None
