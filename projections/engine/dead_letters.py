"""Events that could not be applied, and those of the same aggregate that wait behind them."""

from collections.abc import Sequence

import msgspec

from projections.engine.builds import Build, Connection
from projections.engine.literals import array
from streams.message import Message

_LONGEST_REASON = 2_000
_ADD = """
INSERT INTO projection_dead_letters (projection, version, build, stream, sequence, subject, type, state, reason)
SELECT %s, %s, %s, %s, * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[])
"""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    message: Message
    type: str
    # None: it waits behind another one.
    reason: str | None


def reason_of(error: Exception) -> str:
    """The error in one line, without the NUL characters that PostgreSQL would refuse here too."""
    text = f"{type(error).__name__}: {error}".replace("\x00", "\\0")
    return text.strip()[:_LONGEST_REASON]


async def add(conn: Connection, build: Build, stream: str, letters: Sequence[DeadLetter]) -> None:
    if not letters:
        return
    await conn.execute(
        _ADD,
        (
            *build.id,
            stream,
            array(str(letter.message.sequence) for letter in letters),
            array(letter.message.subject for letter in letters),
            array(letter.type for letter in letters),
            array("parked" if letter.reason is None else "failed" for letter in letters),
            array(letter.reason or "" for letter in letters),
        ),
    )


async def blocked_subjects(conn: Connection, build: Build) -> set[str]:
    """The subjects of aggregates of which an event could not be applied."""
    cursor = await conn.execute(
        "SELECT DISTINCT subject FROM projection_dead_letters WHERE (projection, version, build) = (%s, %s, %s)",
        build.id,
    )
    return {str(subject) for (subject,) in await cursor.fetchall()}
