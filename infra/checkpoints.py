"""The highest sequence of a stream that a service's read models have applied, read from its database."""

import asyncio
import logging

from psycopg import AsyncConnection
from psycopg import Error as DatabaseError
from psycopg_pool import PoolTimeout

from contracts.errors import Unavailable, error_text
from infra import url_files
from infra.runtime.connections import Pool
from streams.cancellation import stop_if_cancelled

log = logging.getLogger(__name__)
_HIGHEST = "SELECT coalesce(max(sequence), 0)::bigint FROM projection_checkpoints WHERE stream = %s"
# Checked first, since PostgreSQL logs an error for each query on a missing table.
_INSTALLED = "SELECT to_regclass('projection_checkpoints') IS NOT NULL"
# Bounds the wait for a database that is away.
_PATIENCE_SECONDS = 1.0
# With this value the RPC client does not retry by itself (infra/rpc/client.py).
_RETRY_AFTER = 2


async def highest_at(database_url: str, stream: str) -> int:
    """Returns the highest sequence of the stream that a read model in this database schema has applied.

    Raises:
        Unavailable: the database does not answer.
    """
    try:
        async with await AsyncConnection.connect(url_files.read(database_url), connect_timeout=5) as conn:
            return await _highest(conn, stream)
    except (DatabaseError, url_files.UnreadableUrl) as error:
        raise Unavailable("The database does not answer.") from error


async def _highest(conn: AsyncConnection[tuple[object, ...]], stream: str) -> int:
    """Returns 0 in a database without any read model yet."""
    installed = await (await conn.execute(_INSTALLED)).fetchone()
    if not installed or not installed[0]:
        return 0
    row = await (await conn.execute(_HIGHEST, (stream,))).fetchone()
    return int(str(row[0])) if row else 0


class Checkpoints:
    """The checkpoints of all builds of a service's read models in one stream."""

    def __init__(self, pool: Pool, stream: str, *, needed: bool = True) -> None:
        """`needed`: the database has to answer once; otherwise nothing counts as applied until it does."""
        self._pool = pool
        self._stream = stream
        self._known: int | None = None if needed else 0

    async def highest(self) -> int:
        """Returns the highest sequence applied by a read model; the last known one if the database does not answer.

        Raises:
            Unavailable: it has not answered yet, and is needed.
        """
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), self._pool.connection() as conn:
                self._known = await _highest(conn, self._stream)
        except (DatabaseError, PoolTimeout, TimeoutError) as error:
            stop_if_cancelled()
            log.debug("checkpoints of %s: %s", self._stream, error_text(error))
        if self._known is None:
            raise Unavailable("The database does not answer.", retry_after=_RETRY_AFTER)
        return self._known
