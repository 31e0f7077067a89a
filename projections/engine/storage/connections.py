"""The engine's database connections: a build's writer holds its lock on the connection that it writes with.

If the connection is lost, the lock and the ability to write are lost at the same time.
"""

import asyncio
import logging
import re

from psycopg import AsyncConnection, OperationalError
from psycopg import Error as DatabaseError
from psycopg.pq import TransactionStatus

from contracts.errors import Unavailable
from infra import url_files
from projections.engine.projection import Projection
from projections.engine.storage.builds import Connection

log = logging.getLogger(__name__)
_LAST_WORD_SECONDS = 1.0
# What libpq says of a host that is no primary, where the URL wants one.
_STANDBY = re.compile("session is read-only|server is in hot standby")
# Each side detects within seconds that the other is gone: by keepalives while idle, else by the timeout of
# unacknowledged data. The server also checks during a statement, since it holds a killed client's locks until then.
_UNACKNOWLEDGED_MS = 10_000
_SILENCE_MS = 15_000
_SETTINGS = (
    "SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3;"
    f" SET tcp_user_timeout = {_UNACKNOWLEDGED_MS};"
    " SET client_connection_check_interval = '2s'; SET timezone = 'UTC';"
    " SET idle_in_transaction_session_timeout = '5min'"
)


async def connect(database_url: url_files.DatabaseUrl, name: str) -> Connection:
    """Opens a connection in autocommit mode.

    Raises:
        Unavailable: the database does not answer.
    """
    try:
        conn: Connection = await AsyncConnection.connect(
            await url_files.current(database_url),
            autocommit=True,
            prepare_threshold=2,
            connect_timeout=5,
            application_name=name,
            keepalives_idle=2,
            keepalives_interval=1,
            keepalives_count=3,
            tcp_user_timeout=_UNACKNOWLEDGED_MS,
        )
    except (OperationalError, url_files.UnreadableUrl) as error:
        raise Unavailable(f"The database does not answer: {_connection_failure(str(error))}") from error
    try:
        await conn.execute(_SETTINGS)
    except BaseException:
        await conn.close()
        raise
    return conn


def _connection_failure(message: str) -> str:
    """The reason in one line. Of several hosts, psycopg's first line is about the last one, which may be a standby.

    The lines that begin with `- ` are about one host each.
    """
    first, *lines = message.split("\n")
    if not _STANDBY.search(first):
        return first
    others = [line.removeprefix("- ") for line in lines if line.startswith("- ") and not _STANDBY.search(line)]
    return f"no primary answered ({'; '.join(others)})" if others else f"all of its hosts are read-only ({first})"


def database_unavailable(error: DatabaseError) -> Unavailable:
    """The operator's one-line error for a database that fails during a command."""
    return Unavailable(f"The database does not answer: {str(error).partition(chr(10))[0]}")


async def close_and_unlock(conn: Connection) -> None:
    """Closes the connection. If it is idle, its locks are released before the return.

    A close alone releases them slightly later, and the next process would find them still held.
    """
    try:
        if conn.info.transaction_status is TransactionStatus.IDLE:
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                await conn.execute("SELECT pg_advisory_unlock_all()")
    except (DatabaseError, TimeoutError):
        log.info("the database no longer answers; it will release the locks by itself")
    finally:
        await conn.close()


async def set_idle_timeouts(conn: Connection) -> None:
    """Makes the server close the connection, and release its locks, after 15 seconds of silence.

    The holder of a lock sends a query every second, so a process that hangs is replaced.
    """
    await conn.execute(
        f"SET idle_session_timeout = {_SILENCE_MS}; SET idle_in_transaction_session_timeout = {_SILENCE_MS}"
    )


async def end_pipeline_idle(conn: Connection) -> None:
    """Returns the connection to the idle state after a pipeline; sends an empty query.

    A pipeline ends with a flush request, after which the server does not count the client as idle. The idle timeout
    would never apply to a process that hangs then.
    """
    await conn.execute("", prepare=False)


def runner_lock(projection: type[Projection]) -> str:
    """The name of the lock held by the runner of a version's live build."""
    return version_runner_lock(projection.name, projection.version)


def rebuild_lock(projection: type[Projection]) -> str:
    """The name of the lock held by the rebuild of a version."""
    return version_rebuild_lock(projection.name, projection.version)


def version_runner_lock(name: str, version: int) -> str:
    """The runner lock's name for a version whose code is not available."""
    return f"vestnik.projections.{name}.v{version}.run"


def version_rebuild_lock(name: str, version: int) -> str:
    return f"vestnik.projections.{name}.v{version}.rebuild"


async def try_lock(conn: Connection, lock: str) -> bool:
    """Acquires the lock until the connection is closed; False if another connection holds it."""
    cursor = await conn.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (lock,))
    return await cursor.fetchone() == (True,)


async def is_locked(conn: Connection, lock: str) -> bool:
    """Whether another connection holds the lock."""
    cursor = await conn.execute(
        "SELECT EXISTS (SELECT FROM pg_locks, hashtextextended(%s, 0) AS key WHERE locktype = 'advisory' AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND pid <> pg_backend_pid()"
        " AND objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = key)",
        (lock,),
    )
    return await cursor.fetchone() == (True,)
