"""Connections of the engine's own: whoever applies a build holds its lock on the very connection that writes.

Losing the connection is losing the lock and with it the ability to write; there is no moment in between.
"""

import asyncio
import logging

from psycopg import AsyncConnection, OperationalError
from psycopg import Error as DatabaseError
from psycopg.pq import TransactionStatus

from contracts.errors import Unavailable
from projections.engine.projection import Projection
from projections.engine.storage.builds import Connection

log = logging.getLogger(__name__)
_LAST_WORD_SECONDS = 1.0
# Either side notices within seconds that the other is gone without a word: by keepalives where nothing is under way, by
# the time that what was sent may stay unacknowledged where something is; the server also in the midst of a statement:
# until then it holds the locks of whoever was killed.
_UNACKNOWLEDGED_MS = 10_000
_SILENCE_MS = 15_000
_SETTINGS = (
    "SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3;"
    f" SET tcp_user_timeout = {_UNACKNOWLEDGED_MS};"
    " SET client_connection_check_interval = '2s'; SET timezone = 'UTC';"
    " SET idle_in_transaction_session_timeout = '5min'"
)


async def connect(database_url: str, name: str) -> Connection:
    """
    Raises:
        Unavailable: the database does not answer.
    """
    try:
        conn: Connection = await AsyncConnection.connect(
            database_url,
            autocommit=True,
            prepare_threshold=2,
            connect_timeout=5,
            application_name=name,
            keepalives_idle=2,
            keepalives_interval=1,
            keepalives_count=3,
            tcp_user_timeout=_UNACKNOWLEDGED_MS,
        )
    except OperationalError as error:
        raise Unavailable(f"The database does not answer: {str(error).partition(chr(10))[0]}") from error
    try:
        await conn.execute(_SETTINGS)
    except BaseException:
        await conn.close()
        raise
    return conn


def database_unavailable(error: DatabaseError) -> Unavailable:
    """What an operator is told, in one line, when the database fails on the way."""
    return Unavailable(f"The database does not answer: {str(error).partition(chr(10))[0]}")


async def close_and_unlock(conn: Connection) -> None:
    """Closes the connection. Where it is at rest, its locks are free by the return: closing alone frees them a little
    later, and whoever comes right behind would take us for still at work."""
    try:
        if conn.info.transaction_status is TransactionStatus.IDLE:
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                await conn.execute("SELECT pg_advisory_unlock_all()")
    except (DatabaseError, TimeoutError):
        log.info("the database does not answer any more; it frees the locks by itself")
    finally:
        await conn.close()


async def set_idle_timeouts(conn: Connection) -> None:
    """From now on the server ends the connection, and with it its locks, where nothing was heard of it for a while:
    whoever holds a lock on it asks something each second. So a process that hangs is replaced, too."""
    await conn.execute(
        f"SET idle_session_timeout = {_SILENCE_MS}; SET idle_in_transaction_session_timeout = {_SILENCE_MS}"
    )


async def end_pipeline_idle(conn: Connection) -> None:
    """To be called after a pipeline, whose last word is a request to flush: for the server such a client is not idle,
    however long it says nothing more, and who hangs from then on would be waited for forever."""
    await conn.execute("", prepare=False)


def runner_lock(projection: type[Projection]) -> str:
    """Held by whoever applies the live build of a version."""
    return version_runner_lock(projection.name, projection.version)


def rebuild_lock(projection: type[Projection]) -> str:
    """Held by whoever rebuilds a version."""
    return version_rebuild_lock(projection.name, projection.version)


def version_runner_lock(name: str, version: int) -> str:
    """The same of a version whose code is not here."""
    return f"vestnik.projections.{name}.v{version}.run"


def version_rebuild_lock(name: str, version: int) -> str:
    return f"vestnik.projections.{name}.v{version}.rebuild"


async def try_lock(conn: Connection, lock: str) -> bool:
    """Takes the lock for as long as the connection lives; False where another has it."""
    cursor = await conn.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (lock,))
    return await cursor.fetchone() == (True,)
