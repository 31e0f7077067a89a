"""Retries the dead letters of several aggregates, and returns an outcome for each.

Applied events are committed, so their outcomes are returned even if the streams or the database are lost on the way.
"""

from collections.abc import Sequence

import msgspec
from psycopg import Error as DatabaseError

from contracts.errors import VestnikError, first_line
from infra.operator_errors import OperatorError
from projections.engine.dead_letters.outcomes import Interrupted, Retried
from projections.engine.dead_letters.queries import DeadLetterRow
from projections.engine.dead_letters.resolution import retry
from projections.engine.projection import Projection
from projections.engine.storage.builds import Connection
from streams.log import Log


async def retry_all(
    conn: Connection, log: Log, chosen: Sequence[tuple[type[Projection], DeadLetterRow]]
) -> list[Retried]:
    """Retries each aggregate or folded row separately: one that cannot be tried does not affect the others.

    Once the streams or the database are lost, the remaining ones are refused without a try.
    """
    outcomes: list[Retried] = []
    lost: str | None = None
    for projection, letter in chosen:
        if lost is not None:
            outcomes.append(_refused(letter, f"not tried: {lost}"))
            continue
        try:
            outcomes.append(await retry(conn, log, projection, letter))
        except (OperatorError, VestnikError, DatabaseError) as error:
            applied = error.applied if isinstance(error, Interrupted) else 0
            outcomes.append(_refused(letter, first_line(error), applied))
            cause = error.__cause__ if isinstance(error, Interrupted) else error
            if conn.closed or isinstance(cause, VestnikError):
                lost = first_line(error)
    return outcomes


async def retry_behind(conn: Connection, log: Log, projection: type[Projection], discarded: DeadLetterRow) -> Retried:
    """Retries the events parked behind a discarded one; their outcome does not affect the discard."""
    (retried,) = await retry_all(conn, log, [(projection, discarded)])
    if retried.outcome != "refused":
        return retried
    return msgspec.structs.replace(retried, left=max(0, retried.left - 1), failed_id=None)


def _refused(letter: DeadLetterRow, reason: str, applied: int = 0) -> Retried:
    return Retried(
        id=str(letter.id),
        outcome="refused",
        applied=applied,
        left=max(0, 1 + (letter.waiting or 0) - applied),
        failed_id=str(letter.id),
        reason=reason,
    )
