"""Queries of dead letters for operators: those of the builds in use, and the discards of every version."""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime

import msgspec
from nats.aio.client import Client as NATS
from psycopg.rows import kwargs_row

from infra.operator_errors import OperatorError
from projections.engine.dead_letters import discards
from projections.engine.dead_letters.discards import Discarded
from projections.engine.storage.builds import Build, BuildState, Connection
from projections.engine.storage.dead_letters import LetterId, aggregate_of

_PAGE = 1_000
_COLUMNS = """
SELECT l.projection, l.version, l.build, b.state AS build_state, b.identity::text AS identity, l.stream, l.sequence,
    l.subject, l.fold_key, l.type, l.state, l.reason, l.at, l.attempts, l.tried_at,
    CASE WHEN l.state = 'failed' THEN (
        SELECT count(*) FROM projection_dead_letters AS p
        WHERE (p.projection, p.version, p.build, md5(coalesce(p.fold_key, p.subject)))
              = (l.projection, l.version, l.build, md5(coalesce(l.fold_key, l.subject)))
          AND p.state = 'parked'
    ) END AS waiting, head.first
FROM projection_dead_letters AS l JOIN projection_builds AS b USING (projection, version, build)
CROSS JOIN LATERAL (
    SELECT min(f.sequence) AS first FROM projection_dead_letters AS f
    WHERE (f.projection, f.version, f.build, md5(coalesce(f.fold_key, f.subject)))
        = (l.projection, l.version, l.build, md5(coalesce(l.fold_key, l.subject)))
) AS head
"""
_LIST = (
    _COLUMNS
    + """
WHERE b.state IN ('live', 'building')
  AND (%(projections)s::text[] IS NULL OR l.projection = ANY(%(projections)s))
  AND (%(state)s::text IS NULL OR l.state = %(state)s)
  AND (%(type)s::text IS NULL OR l.type = %(type)s)
  AND (%(aggregate)s::text IS NULL OR l.subject LIKE '%%.' || %(aggregate)s)
  AND (l.sequence = head.first OR NOT %(heads)s)
ORDER BY l.projection, l.version, l.build, l.stream, head.first, l.sequence
"""
)
_ONE = (
    _COLUMNS
    + " WHERE (l.projection, l.version, l.build, l.stream, l.sequence) = (%s, %s, %s, %s, %s) AND b.state <> 'shadow'"
)
_DISCARDED_ONE = """
SELECT projection, version, build, stream, sequence, subject, type, error, reason, discarded_by, discarded_at
FROM projection_discards WHERE (projection, version, stream, sequence) = (%s, %s, %s, %s)
"""


class NoSuchLetter(OperatorError):
    """There is no dead letter of this id."""

    def __init__(self, letter_id: LetterId, why: str) -> None:
        super().__init__(f"there is no dead letter {letter_id}: {why}")


class DeadLetterRow(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter, without the event itself."""

    projection: str
    version: int
    build: int
    # `live`, `building` or `retired`.
    build_state: BuildState
    identity: str
    stream: str
    sequence: int
    subject: str
    # The table and key of the row that it is folded into; None: it is not folded.
    fold_key: str | None
    type: str
    # `failed`, or `parked` behind a failed one of its aggregate or row.
    state: str
    # Why the last try failed.
    reason: str
    at: datetime
    attempts: int
    tried_at: datetime
    # Number of dead letters parked behind it; None for a parked one.
    waiting: int | None
    # Sequence of the first dead letter of its aggregate or row.
    first: int

    @property
    def id(self) -> LetterId:
        return LetterId(self.projection, self.version, self.build, self.stream, self.sequence)

    @property
    def head(self) -> LetterId:
        """The dead letter that has to be resolved first; this one if it is the first of its aggregate or row."""
        return self.id._replace(sequence=self.first)

    @property
    def aggregate_id(self) -> str:
        return aggregate_of(self.subject)

    @property
    def lane(self) -> str:
        """The events that wait behind it: those of its row, or else of its aggregate."""
        return self.subject if self.fold_key is None else self.fold_key

    def of_build(self) -> Build:
        return Build(
            projection=self.projection,
            version=self.version,
            build=self.build,
            state=self.build_state,
            identity=self.identity,
        )


class DeadLetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Selects dead letters; None: no restriction."""

    projections: Sequence[str] | None = None
    state: str | None = None
    type: str | None = None
    aggregate_id: str | None = None
    # Only the first of each aggregate or folded row.
    heads: bool = False

    def parameters(self) -> dict[str, object]:
        # The underscore and the percent sign are wildcards in LIKE.
        escaped = None if self.aggregate_id is None else _escaped(self.aggregate_id)
        return {
            "projections": None if self.projections is None else list(self.projections),
            "state": self.state,
            "type": self.type,
            "aggregate": escaped,
            "heads": self.heads,
        }


async def list_dead_letters(conn: Connection, letter_filter: DeadLetterFilter) -> AsyncGenerator[DeadLetterRow, None]:
    """Streams the dead letters of all builds in use, through a cursor; those of an aggregate together and in order."""
    async with conn.transaction(), conn.cursor("dead_letters", row_factory=kwargs_row(_kept)) as cursor:
        cursor.itersize = _PAGE
        await cursor.execute(_LIST, letter_filter.parameters())
        async for letter in cursor:
            yield letter


async def list_heads(conn: Connection, projection: str) -> list[DeadLetterRow]:
    """The first dead letter of each aggregate or folded row of the projection, in all builds in use."""
    letter_filter = DeadLetterFilter(projections=[projection], heads=True)
    async with conn.cursor(row_factory=kwargs_row(_kept)) as cursor:
        await cursor.execute(_LIST, letter_filter.parameters())
        return await cursor.fetchall()


async def discarded(nc: NATS, letter_filter: DeadLetterFilter) -> list[Discarded]:
    """The discards of every version, read from the stream.

    Raises:
        as `discards.recorded`.
    """
    discards_found = [
        discard
        for discard in await discards.recorded(nc)
        if (letter_filter.projections is None or discard.projection in letter_filter.projections)
        and letter_filter.type in (None, discard.type)
        and letter_filter.aggregate_id in (None, discard.aggregate_id)
    ]
    return sorted(discards_found, key=lambda discard: discard.key)


async def get_dead_letter(conn: Connection, letter_id: LetterId) -> DeadLetterRow | Discarded:
    """Returns the dead letter, or its discard.

    Raises:
        NoSuchLetter: it does not exist, or no longer does.
    """
    async with conn.cursor(row_factory=kwargs_row(_kept)) as cursor:
        await cursor.execute(_ONE, tuple(letter_id))
        letter = await cursor.fetchone()
    if letter is not None:
        return letter
    async with conn.cursor(row_factory=kwargs_row(Discarded)) as discarded_cursor:
        await discarded_cursor.execute(
            _DISCARDED_ONE, (letter_id.projection, letter_id.version, letter_id.stream, letter_id.sequence)
        )
        discard = await discarded_cursor.fetchone()
    if discard is not None:
        return discard
    cursor_of_build = await conn.execute(
        "SELECT state FROM projection_builds WHERE (projection, version, build) = (%s, %s, %s)", letter_id[:3]
    )
    build = await cursor_of_build.fetchone()
    if build is None:
        raise NoSuchLetter(letter_id, f"build {letter_id.build} of version {letter_id.version} does not exist")
    raise NoSuchLetter(
        letter_id, "its build has no dead letter at this sequence; the event may have been applied meanwhile"
    )


def _kept(build_state: str, **columns: object) -> DeadLetterRow:
    return msgspec.convert({"build_state": build_state, **columns}, DeadLetterRow)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
