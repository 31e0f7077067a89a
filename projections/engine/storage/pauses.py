"""Pauses: versions of projections that no service applies until an operator resumes them.

A pause is a row beside the builds, so it survives restarts and holds for every replica. It belongs to the version: a
release with another one is not paused.
"""

from datetime import datetime

import msgspec

from projections.engine.storage.builds import Connection

_ADD = """
INSERT INTO projection_pauses (projection, version, reason, paused_by) VALUES (%s, %s, %s, %s)
ON CONFLICT DO NOTHING RETURNING reason, paused_by, paused_at
"""
_GET = "SELECT reason, paused_by, paused_at FROM projection_pauses WHERE (projection, version) = (%s, %s)"
_REMOVE = "DELETE FROM projection_pauses WHERE (projection, version) = (%s, %s) RETURNING reason, paused_by, paused_at"


class Pause(msgspec.Struct, frozen=True):
    """Who has paused a version, when and why."""

    reason: str
    paused_by: str
    paused_at: datetime


async def add(conn: Connection, projection: str, version: int, *, reason: str, by: str) -> Pause | None:
    """Pauses the version; None if it is paused already."""
    return await _pause(conn, _ADD, (projection, version, reason, by))


async def get(conn: Connection, projection: str, version: int) -> Pause | None:
    return await _pause(conn, _GET, (projection, version))


async def remove(conn: Connection, projection: str, version: int) -> Pause | None:
    """Ends the pause and returns it; None if the version is not paused."""
    return await _pause(conn, _REMOVE, (projection, version))


async def _pause(conn: Connection, statement: str, params: tuple[object, ...]) -> Pause | None:
    cursor = await conn.execute(statement.encode(), params)
    row = await cursor.fetchone()
    return None if row is None else msgspec.convert(dict(zip(Pause.__struct_fields__, row, strict=True)), Pause)
