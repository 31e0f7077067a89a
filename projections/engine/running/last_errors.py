"""The last error of a projection's runners, kept where whoever asks for the status finds it.

Most of them are the database being away, so that word of one is left when it is back. It stays until another takes its
place; how long it is worth showing is for the reader to say. A projection is failing from an error that its runner
meets again and again until the next batch that is applied.
"""

from datetime import UTC, datetime
from typing import Self

import msgspec

from projections.engine.storage.builds import Connection
from projections.engine.storage.dead_letters import reason_of

_KEEP = """
INSERT INTO projection_errors (projection, version, error, at, failing) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (projection, version) DO UPDATE SET error = EXCLUDED.error, at = EXCLUDED.at, failing = EXCLUDED.failing
WHERE projection_errors.at < EXCLUDED.at
"""
_RECOVERED = "UPDATE projection_errors SET failing = false WHERE (projection, version) = (%s, %s) AND failing"


class LastError(msgspec.Struct, frozen=True):
    at: datetime
    error: str

    @classmethod
    def now(cls, error: Exception) -> Self:
        return cls(datetime.now(UTC), reason_of(error).partition("\n")[0])


async def record_error(conn: Connection, projection: str, version: int, error: LastError, *, failing: bool) -> None:
    """Takes the place of an older one."""
    await conn.execute(_KEEP, (projection, version, error.error, error.at, failing))


async def recovered(conn: Connection, projection: str, version: int) -> None:
    """The projection is no longer failing; its last error stays."""
    await conn.execute(_RECOVERED, (projection, version))
