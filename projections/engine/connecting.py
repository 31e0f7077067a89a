"""Connections of the engine's own: whoever applies a build holds its lock on the very connection that writes.

Losing the connection is losing the lock and with it the ability to write; there is no moment in between.
"""

from psycopg import AsyncConnection, OperationalError

from contracts.errors import Unavailable
from projections.engine.builds import Connection
from projections.engine.projection import Projection

# Either side notices within seconds that the other is gone without a word.
_SETTINGS = (
    "SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3;"
    " SET timezone = 'UTC'; SET idle_in_transaction_session_timeout = '5min'"
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
        )
    except OperationalError as error:
        raise Unavailable(f"The database does not answer: {str(error).partition(chr(10))[0]}") from error
    await conn.execute(_SETTINGS)
    return conn


def runner_lock(projection: type[Projection]) -> str:
    """Held by whoever applies the live build of a version."""
    return f"vestnik.projections.{projection.name}.v{projection.version}.run"


def rebuild_lock(projection: type[Projection]) -> str:
    """Held by whoever rebuilds a version."""
    return f"vestnik.projections.{projection.name}.v{projection.version}.rebuild"


def verify_lock(projection: type[Projection]) -> str:
    """Held by whoever compares a version with the streams."""
    return f"vestnik.projections.{projection.name}.v{projection.version}.verify"


async def try_lock(conn: Connection, lock: str) -> bool:
    """Takes the lock for as long as the connection lives; False where another has it."""
    cursor = await conn.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (lock,))
    return await cursor.fetchone() == (True,)
