"""The last error of each projection's runners, stored in the database for status queries.

Most errors are a lost database, so an error is recorded once the database is back. It is kept until the next error
replaces it; readers decide how long to show it. A projection is failing from the time its runner repeats an error until
the next batch is applied. Every replica records errors, but only the active one says whether the projection is failing:
what another one has to say of an earlier attempt is out of date.
"""

from datetime import UTC, datetime
from typing import Self

import msgspec

from contracts.errors import KeysUnavailable
from projections.engine.storage.builds import Connection
from projections.engine.storage.dead_letters import reason_of

# An error of the future was recorded before a clock was set back.
_KEEP = """
INSERT INTO projection_errors (projection, version, error, at) VALUES (%s, %s, %s, %s)
ON CONFLICT (projection, version) DO UPDATE SET error = EXCLUDED.error, at = EXCLUDED.at
WHERE projection_errors.at < EXCLUDED.at OR projection_errors.at > now()
"""
_FAILING = "UPDATE projection_errors SET failing = true WHERE (projection, version) = (%s, %s) AND NOT failing"
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


async def record_error(conn: Connection, projection: str, version: int, error: LastError) -> None:
    """Stores the error; it replaces an older one."""
    await conn.execute(_KEEP, (projection, version, error.error, error.at))


async def failing(conn: Connection, projection: str, version: int) -> None:
    """Marks the projection as failing with the recorded error; only for its active runner."""
    await conn.execute(_FAILING, (projection, version))


async def recovered(conn: Connection, projection: str, version: int) -> None:
    """Marks the projection as no longer failing; its last error is kept. Only for its active runner."""
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
