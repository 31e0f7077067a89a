"""How long a control waits for what uses a build, and the error when that takes too long."""

from psycopg import sql

from infra.operator_errors import OperatorError
from projections.engine.projection import Projection
from projections.engine.storage.builds import Connection
from projections.engine.storage.connections import is_locked, rebuild_lock

# Seconds, for a build's writer, which may be writing a large batch.
PATIENCE = 10.0


class Busy(OperatorError):
    """Nothing was done, since a build was in use for too long; another try may succeed."""


class WriterBusy(Busy):
    """A build's writer held its lock for too long."""

    def __init__(self, projection: type[Projection], *, rebuilding: bool) -> None:
        what = "a rebuild of it is running and writes" if rebuilding else "its service writes a large batch"
        super().__init__(f"{projection.name}: {what}; nothing was done, try again")


async def set_lock_timeout(conn: Connection, seconds: float) -> None:
    """Limits each wait for a lock until the transaction ends."""
    milliseconds = max(1, round(seconds * 1_000))
    await conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{milliseconds}ms")))


async def writer_busy(conn: Connection, projection: type[Projection]) -> WriterBusy:
    """The error that names who writes."""
    return WriterBusy(projection, rebuilding=await is_locked(conn, rebuild_lock(projection)))
