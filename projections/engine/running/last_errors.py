"""The last error of each projection's runners, stored in the database for status queries.

Most errors are a lost database, so an error is recorded once the database is back. It is kept until the next error
replaces it; readers decide how long to show it. A projection is failing from the time its runner repeats an error until
the next batch is applied.
"""

from datetime import UTC, datetime
from typing import Self

import msgspec

from contracts.errors import KeysUnavailable
from projections.engine.storage.builds import Connection
from projections.engine.storage.dead_letters import reason_of

_KEEP = """
INSERT INTO projection_errors (projection, version, error, at, failing) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (projection, version) DO UPDATE SET error = EXCLUDED.error, at = EXCLUDED.at, failing = EXCLUDED.failing
WHERE projection_errors.at < EXCLUDED.at
"""
_RECOVERED = "UPDATE projection_errors SET failing = false WHERE (projection, version) = (%s, %s) AND failing"
_WAITS_FOR_KEYS = """
SELECT 1 FROM projection_errors
WHERE (projection, version) = (%s, %s) AND starts_with(error, %s) AND at > now() - interval '1 minute'
"""
_GET = "SELECT at, error, failing FROM projection_errors WHERE (projection, version) = (%s, %s)"


class LastError(msgspec.Struct, frozen=True):
    at: datetime
    error: str

    @classmethod
    def now(cls, error: Exception) -> Self:
        return cls(datetime.now(UTC), reason_of(error).partition("\n")[0])


async def record_error(conn: Connection, projection: str, version: int, error: LastError, *, failing: bool) -> None:
    """Stores the error; it replaces an older one."""
    await conn.execute(_KEEP, (projection, version, error.error, error.at, failing))


async def recovered(conn: Connection, projection: str, version: int) -> None:
    """Marks the projection as no longer failing; its last error is kept."""
    await conn.execute(_RECOVERED, (projection, version))


async def waits_for_keys(conn: Connection, projection: str, version: int) -> bool:
    """Whether the active runner has reported within a minute that it lacks a key of personal data."""
    cursor = await conn.execute(_WAITS_FOR_KEYS, (projection, version, f"{KeysUnavailable.__name__}: "))
    return await cursor.fetchone() is not None


async def failure(conn: Connection, projection: str, version: int) -> LastError | None:
    """The error that the projection fails with; None if it does not fail."""
    cursor = await conn.execute(_GET, (projection, version))
    row = await cursor.fetchone()
    if row is None or row[2] is not True:
        return None
    return msgspec.convert({"at": row[0], "error": row[1]}, LastError)
