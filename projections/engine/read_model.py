"""Reading a read model: rows together with the position that they reflect.

Rows and checkpoint come from one statement, hence one snapshot: the position is neither older nor newer than the data,
also while another build is being put under the views (readers hold a lock on the view from before their snapshot).
"""

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from psycopg import OperationalError, errors
from psycopg.types.string import TextLoader

from contracts.errors import ReadModelBehind, Unavailable
from contracts.positions import Position
from infra.runtime.connections import DatabaseSilent, Pool
from projections.engine.broken_projection import Broken
from projections.engine.projection import Projection
from projections.engine.waiting.position_waiter import CheckpointNotice, PositionWaiter

R = TypeVar("R", bound=msgspec.Struct)

_WITH_POSITION = """
SELECT at.identity, at.sequences, found.* FROM (
    SELECT b.identity::text, jsonb_object_agg(c.stream, c.sequence) AS sequences
    FROM projection_builds AS b JOIN projection_checkpoints AS c USING (projection, version, build)
    WHERE b.projection = '{projection}' AND b.version = {version} AND b.state = 'live' GROUP BY b.identity
) AS at LEFT JOIN (SELECT row_number() OVER () AS place, row.* FROM ({query}) AS row) AS found ON true
ORDER BY found.place
"""
# The same, and what of one aggregate the rows lack: one snapshot, since a dead letter may be settled at any moment.
_WITH_GAPS = """
SELECT at.identity, at.sequences, at.gaps, found.* FROM (
    SELECT b.identity::text,
        (SELECT jsonb_object_agg(c.stream, c.sequence) FROM projection_checkpoints AS c
         WHERE (c.projection, c.version, c.build) = (b.projection, b.version, b.build)) AS sequences,
        (SELECT jsonb_build_object('first', min(l.sequence), 'waiting', count(*)) FROM projection_dead_letters AS l
         WHERE (l.projection, l.version, l.build) = (b.projection, b.version, b.build)
           AND l.subject = %(subject)s)
        || jsonb_build_object('discarded', ARRAY(
            SELECT d.sequence FROM projection_discards AS d
            WHERE (d.projection, d.version) = (b.projection, b.version) AND d.subject = %(subject)s)) AS gaps
    FROM projection_builds AS b
    WHERE b.projection = '{projection}' AND b.version = {version} AND b.state = 'live'
) AS at LEFT JOIN (SELECT row_number() OVER () AS place, row.* FROM ({query}) AS row) AS found ON true
ORDER BY found.place
"""
# The same, and of which aggregates the rows lack something.
_WITH_LACKING = """
SELECT at.identity, at.sequences, at.lacking, found.* FROM (
    SELECT b.identity::text,
        (SELECT jsonb_object_agg(c.stream, c.sequence) FROM projection_checkpoints AS c
         WHERE (c.projection, c.version, c.build) = (b.projection, b.version, b.build)) AS sequences,
        ARRAY(SELECT l.subject FROM projection_dead_letters AS l
              WHERE (l.projection, l.version, l.build) = (b.projection, b.version, b.build)
              LIMIT {most_lacking} + 1) AS lacking
    FROM projection_builds AS b
    WHERE b.projection = '{projection}' AND b.version = {version} AND b.state = 'live'
) AS at LEFT JOIN (SELECT row_number() OVER () AS place, row.* FROM ({query}) AS row) AS found ON true
ORDER BY found.place
"""
# Events that could not be applied, of which a snapshot names the aggregates; with more, all aggregates are suspected.
_MOST_LACKING = 1_000
# Whoever calls does not try again by itself (infra/rpc/client.py).
_SILENT_RETRY_AFTER = 2
# A broken projection is mended by a deploy.
_BROKEN_RETRY_AFTER = 30


class MissingEvents(msgspec.Struct, frozen=True):
    """What of an aggregate's events the rows lack, although its stream was read that far."""

    # The first event that could not be applied; those behind it wait. None: there is none.
    first: int | None
    # How many could not be applied or wait.
    waiting: int
    # Those that an operator has given up for good.
    discarded: list[int]


class Snapshot(msgspec.Struct, frozen=True):
    """What rows are a picture of: two of one build with nothing lacking differ by the events in between alone."""

    # Of the build.
    identity: str
    position: Position
    # Subjects of which some event could not be applied; None: too many to name.
    lacking: frozenset[str] | None

    def is_missing(self, *subjects: str) -> bool:
        """Whether the rows may lack an event of one of the subjects, to be added some day without any news of it."""
        return self.lacking is None or not self.lacking.isdisjoint(subjects)


class ReadModel:
    """What readers see of a projection; of a broken one, that it is unavailable."""

    def __init__(self, projection: type[Projection] | Broken, pool: Pool, waiting: PositionWaiter) -> None:
        self._found = projection
        self._pool = pool
        self._waiting = waiting
        self._statements: dict[tuple[str, str], bytes] = {}

    async def select(
        self, row_type: type[R], sql: str, params: Mapping[str, object] | None = None
    ) -> tuple[list[R], Position]:
        """Runs a query over the read model's `{table}`s; the rows keep its order.

        Columns are matched to the fields of `row_type` by name; UUIDs come as text. Parameters are `%(name)s`.

        Raises:
            ReadModelBehind: the read model has not been built yet.
            Unavailable: the database does not answer.
        """
        names, rows = await self._rows(_WITH_POSITION, sql, params or {})
        position = self._learned(rows[0])
        return _converted(row_type, names[3:], [row[3:] for row in rows if row[2] is not None]), position

    async def select_with_gaps(
        self, subject: str, row_type: type[R], sql: str, params: Mapping[str, object] | None = None
    ) -> tuple[list[R], Position, MissingEvents]:
        """As `select`, for a question about one aggregate whose answer must not rest on rows that are missing.

        Raises:
            as `select`.
        """
        names, rows = await self._rows(_WITH_GAPS, sql, {**(params or {}), "subject": subject})
        gaps, position = msgspec.convert(rows[0][2], MissingEvents), self._learned(rows[0])
        return _converted(row_type, names[4:], [row[4:] for row in rows if row[3] is not None]), position, gaps

    async def select_snapshot(
        self, row_type: type[R], sql: str, params: Mapping[str, object] | None = None
    ) -> tuple[list[R], Snapshot]:
        """As `select`, for whoever keeps the rows and has to tell later whether they are still right.

        Raises:
            as `select`.
        """
        names, rows = await self._rows(_WITH_LACKING, sql, params or {})
        lacking = msgspec.convert(rows[0][2], list[str])
        snapshot = Snapshot(
            identity=str(rows[0][0]),
            position=self._learned(rows[0]),
            lacking=frozenset(lacking) if len(lacking) <= _MOST_LACKING else None,
        )
        return _converted(row_type, names[4:], [row[4:] for row in rows if row[3] is not None]), snapshot

    async def _rows(
        self, template: str, sql: str, params: Mapping[str, object]
    ) -> tuple[list[str], list[tuple[object, ...]]]:
        """The answer, of one row at least."""
        try:
            names, rows = await self._fetch(self._statement(template, sql), params)
        except errors.UndefinedTable as error:
            raise ReadModelBehind("The read model is being built.", retry_after=1) from error
        except OperationalError as error:
            wait = _SILENT_RETRY_AFTER if isinstance(error, DatabaseSilent) else 1
            raise Unavailable("The read model cannot be read just now.", retry_after=wait) from error
        if not rows:
            raise ReadModelBehind("The read model is being built.", retry_after=1)
        return names, rows

    def _learned(self, row: tuple[object, ...]) -> Position:
        """The position in the row, which this process takes notice of."""
        reached = msgspec.convert({"identity": row[0], "sequences": row[1]}, CheckpointNotice)
        self._waiting.notify(self._projection, reached)
        return Position(reached.sequences)

    async def wait_for(self, position: Position, timeout: float = 5.0) -> None:
        """Returns once the read model has reached the position, of which only the streams that it reads count.

        Raises:
            ReadModelBehind: it has not within `timeout` seconds.
        """
        await self._waiting.wait(self._projection, position, timeout)

    async def _fetch(
        self, statement: bytes, params: Mapping[str, object]
    ) -> tuple[list[str], list[tuple[object, ...]]]:
        async with self._pool.connection() as conn, conn.cursor() as cursor:
            cursor.adapters.register_loader("uuid", TextLoader)
            await cursor.execute(statement, params)
            return [column.name for column in cursor.description or ()], await cursor.fetchall()

    @property
    def _projection(self) -> type[Projection]:
        if isinstance(self._found, Broken):
            raise Unavailable(f"The read model {self._found.name} has failed.", retry_after=_BROKEN_RETRY_AFTER)
        return self._found

    def _views(self) -> dict[str, str]:
        return {table: self._projection.view(table) for table in self._projection.table_names()}

    def _statement(self, template: str, sql: str) -> bytes:
        """The whole statement; made once for each query, of which a program has a fixed few."""
        found = self._statements.get((template, sql))
        if found is None:
            query = self._projection.with_tables(sql, self._views())
            found = (
                template.replace("{projection}", self._projection.name)
                .replace("{version}", str(self._projection.version))
                .replace("{most_lacking}", str(_MOST_LACKING))
                .replace("{query}", query)
                .encode()
            )
            self._statements[template, sql] = found
        return found


def _converted(row_type: type[R], names: list[str], rows: list[tuple[object, ...]]) -> list[R]:
    return [msgspec.convert(dict(zip(names, values, strict=True)), row_type) for values in rows]
