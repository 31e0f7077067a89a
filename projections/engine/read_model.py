"""Queries of a read model: rows together with the position that they reflect.

Rows and checkpoint come from one statement and so from one snapshot: the position is neither older nor newer than the
data. This also holds during a cutover to another build, since readers lock the view before they take their snapshot.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import TypeVar

import msgspec
from psycopg import OperationalError, errors
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types.string import TextLoader

from contracts.errors import ReadModelBehind, Unavailable
from contracts.positions import Position
from infra.runtime.connections import DatabaseSilent, Pool
from projections.engine.broken_projection import Broken
from projections.engine.projection import Projection
from projections.engine.storage.builds import Connection
from projections.engine.waiting.position_waiter import CheckpointNotice, PositionWaiter

R = TypeVar("R", bound=msgspec.Struct)

_WITH_POSITION = """
SELECT at.identity, at.sequences, found.* FROM (
    SELECT b.identity::text, jsonb_object_agg(c.stream, c.sequence)::text AS sequences
    FROM projection_builds AS b JOIN projection_checkpoints AS c USING (projection, version, build)
    WHERE b.projection = '{projection}' AND b.version = {version} AND b.state = 'live' GROUP BY b.identity
) AS at LEFT JOIN (SELECT row_number() OVER () AS "number of the row", row.* FROM ({query}
) AS row) AS found ON true
ORDER BY found."number of the row"
"""
# Also returns the gaps of one aggregate. One snapshot, since a dead letter may be resolved at any moment.
_WITH_GAPS = """
SELECT at.identity, at.sequences, at.gaps, found.* FROM (
    SELECT b.identity::text,
        (SELECT jsonb_object_agg(c.stream, c.sequence)::text FROM projection_checkpoints AS c
         WHERE (c.projection, c.version, c.build) = (b.projection, b.version, b.build)) AS sequences,
        (SELECT jsonb_build_object('first', min(l.sequence), 'waiting', count(*)) FROM projection_dead_letters AS l
         WHERE (l.projection, l.version, l.build) = (b.projection, b.version, b.build)
           AND l.subject = %(subject)s)
        || jsonb_build_object('discarded', ARRAY(
            SELECT d.sequence FROM projection_discards AS d
            WHERE (d.projection, d.version) = (b.projection, b.version) AND d.subject = %(subject)s)) AS gaps
    FROM projection_builds AS b
    WHERE b.projection = '{projection}' AND b.version = {version} AND b.state = 'live'
) AS at LEFT JOIN (SELECT row_number() OVER () AS "number of the row", row.* FROM ({query}
) AS row) AS found ON true
ORDER BY found."number of the row"
"""
# Also returns the subjects of the aggregates whose rows lack an event.
_WITH_LACKING = """
SELECT at.identity, at.sequences, at.lacking, found.* FROM (
    SELECT b.identity::text,
        (SELECT jsonb_object_agg(c.stream, c.sequence)::text FROM projection_checkpoints AS c
         WHERE (c.projection, c.version, c.build) = (b.projection, b.version, b.build)) AS sequences,
        ARRAY(SELECT l.subject FROM projection_dead_letters AS l
              WHERE (l.projection, l.version, l.build) = (b.projection, b.version, b.build)
              LIMIT {most_lacking} + 1) AS lacking
    FROM projection_builds AS b
    WHERE b.projection = '{projection}' AND b.version = {version} AND b.state = 'live'
) AS at LEFT JOIN (SELECT row_number() OVER () AS "number of the row", row.* FROM ({query}
) AS row) AS found ON true
ORDER BY found."number of the row"
"""
# Decoded of the first row alone, although every row has it.
_SEQUENCES = msgspec.json.Decoder(dict[str, int])
# Readers find a version's tables and views from the moment on that its first build goes live.
_EXISTS = "SELECT to_regclass(%s) IS NOT NULL"
# Dead letters whose aggregates a snapshot names; with more of them, every aggregate may lack an event.
_MOST_LACKING = 1_000
# OID of the type, which no column of a table can have.
_CSTRING = 2275
_BEING_BUILT = "The read model is being built."
# Seconds. With this value the RPC client does not retry by itself (infra/rpc/client.py).
_SILENT_RETRY_AFTER = 2
# Seconds. A broken projection is fixed by a deploy.
_BROKEN_RETRY_AFTER = 30


class MissingEvents(msgspec.Struct, frozen=True):
    """The events of one aggregate that the rows lack, although the checkpoint is past them."""

    # Sequence of the first dead letter, behind which the later ones wait; None: there is none.
    first: int | None
    # Number of dead letters, failed and parked.
    waiting: int
    # Sequences of the events that an operator has discarded.
    discarded: list[int]


class Snapshot(msgspec.Struct, frozen=True):
    """The build and position that rows reflect.

    Two snapshots of one build without missing events differ only by the events between their positions.
    """

    # The identity of the build.
    identity: str
    position: Position
    # Subjects with dead letters; None: too many to name.
    lacking: frozenset[str] | None

    def is_missing(self, *subjects: str) -> bool:
        """Whether the rows may lack an event of one of the subjects, which may be added later without notice."""
        return self.lacking is None or not self.lacking.isdisjoint(subjects)

    def missing_under(self, prefix: str) -> frozenset[str] | None:
        """What follows the prefix in the subjects that may lack an event and begin so; None: too many to name."""
        if not self.lacking:
            return self.lacking
        return frozenset(subject.removeprefix(prefix) for subject in self.lacking if subject.startswith(prefix))


class _NumberLoader(Loader):
    """Loads a `numeric` without decimal places, such as a sum, as an integer, which a field of any number accepts."""

    def load(self, data: Buffer) -> int | Decimal:
        text = bytes(data).decode()
        return int(text) if text.removeprefix("-").isdigit() else Decimal(text)


class _EncodedLoader(Loader):
    """Loads a `cstring` as it comes: UTF-8, which a reader that passes it on need not decode."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


class ReadModel:
    """Queries one projection's tables; those of a broken projection raise `Unavailable`."""

    def __init__(self, projection: type[Projection] | Broken, pool: Pool, waiting: PositionWaiter) -> None:
        self._found = projection
        self._pool = pool
        self._waiting = waiting
        self._statements: dict[tuple[str, str], bytes] = {}
        # Whether the read model has been there once.
        self._exists = False

    async def select(
        self,
        row_type: type[R],
        sql: str,
        params: Mapping[str, object] | None = None,
    ) -> tuple[list[R], Position]:
        """Runs a query over the read model's `{table}`s; the rows keep its order.

        Columns are matched to the fields of `row_type` by name; UUIDs come as text, and `textout(…)` of a text as bytes
        in UTF-8. Parameters are `%(name)s`, and any other percent sign is written twice.

        Raises:
            ReadModelBehind: the read model has not been built yet.
            Unavailable: the database does not answer.
        """
        names, rows, position = await self._rows(_WITH_POSITION, sql, params or {})
        return _converted(row_type, names[3:], [row[3:] for row in rows if row[2] is not None]), position

    async def select_with_gaps(
        self, subject: str, row_type: type[R], sql: str, params: Mapping[str, object] | None = None
    ) -> tuple[list[R], Position, MissingEvents]:
        """As `select`, and returns the missing events of one aggregate, for answers that must not rely on missing rows.

        Raises:
            as `select`.
        """
        names, rows, position = await self._rows(_WITH_GAPS, sql, {**(params or {}), "subject": subject})
        gaps = msgspec.convert(rows[0][2], MissingEvents)
        return _converted(row_type, names[4:], [row[4:] for row in rows if row[3] is not None]), position, gaps

    async def select_snapshot(
        self, row_type: type[R], sql: str, params: Mapping[str, object] | None = None
    ) -> tuple[list[R], Snapshot]:
        """As `select`, for a caller that caches the rows and later checks whether they are still valid.

        Raises:
            as `select`.
        """
        names, rows, position = await self._rows(_WITH_LACKING, sql, params or {})
        lacking = msgspec.convert(rows[0][2], list[str])
        snapshot = Snapshot(
            identity=str(rows[0][0]),
            position=position,
            lacking=frozenset(lacking) if len(lacking) <= _MOST_LACKING else None,
        )
        return _converted(row_type, names[4:], [row[4:] for row in rows if row[3] is not None]), snapshot

    async def _rows(
        self, template: str, sql: str, params: Mapping[str, object]
    ) -> tuple[list[str], list[tuple[object, ...]], Position]:
        """Runs the statement; returns the column names, at least one row, and the position that the rows reflect.

        A database that lacks commits which were known before, as after a fail-over to a standby that did not have them,
        is asked again once they are made again.

        Raises:
            ReadModelBehind: that takes too long.
        """
        known = self._waiting.known(self._projection)
        names, rows = await self._answered(self._statement(template, sql), params)
        reached = _notice(rows[0])
        if reached.is_behind(known):
            self._waiting.went_back(self._projection, reached)
            await self.wait_for(Position(known.sequences))
            names, rows = await self._answered(self._statement(template, sql), params)
            reached = _notice(rows[0])
            if reached.is_behind(known):
                raise ReadModelBehind(retry_after=1)
        self._waiting.notify(self._projection, reached)
        return names, rows, Position(reached.sequences)

    async def _answered(
        self, statement: bytes, params: Mapping[str, object]
    ) -> tuple[list[str], list[tuple[object, ...]]]:
        """Runs the statement once; returns the column names and at least one row."""
        try:
            names, rows = await self._fetch(statement, params)
        except errors.UndefinedTable as error:
            # It was there, and is being built once more.
            self._exists = False
            raise ReadModelBehind(_BEING_BUILT, retry_after=1) from error
        except OperationalError as error:
            wait = _SILENT_RETRY_AFTER if isinstance(error, DatabaseSilent) else 1
            raise Unavailable("The read model cannot be read at the moment.", retry_after=wait) from error
        if not rows:
            raise ReadModelBehind(_BEING_BUILT, retry_after=1)
        return names, rows

    async def wait_for(self, position: Position, timeout: float = 5.0) -> None:
        """Returns once the read model has reached the position; only the streams that it reads count.

        Raises:
            ReadModelBehind: the position was not reached within `timeout` seconds.
        """
        await self._waiting.wait(self._projection, position, timeout)

    async def _fetch(
        self, statement: bytes, params: Mapping[str, object]
    ) -> tuple[list[str], list[tuple[object, ...]]]:
        async with self._pool.connection() as conn, conn.cursor() as cursor:
            if not self._exists:
                await self._assert_exists(conn)
            cursor.adapters.register_loader("uuid", TextLoader)
            cursor.adapters.register_loader("numeric", _NumberLoader)
            cursor.adapters.register_loader(_CSTRING, _EncodedLoader)
            await cursor.execute(statement, params)
            return [column.name for column in cursor.description or ()], await cursor.fetchall()

    async def _assert_exists(self, conn: Connection) -> None:
        """
        Raises:
            ReadModelBehind: it has not been built yet; PostgreSQL would record a query of it as an error.
        """
        cursor = await conn.execute(_EXISTS, (self._projection.view(self._projection.table_names()[0]),))
        self._exists = await cursor.fetchone() == (True,)
        if not self._exists:
            raise ReadModelBehind(_BEING_BUILT, retry_after=1)

    @property
    def _projection(self) -> type[Projection]:
        if isinstance(self._found, Broken):
            raise Unavailable(f"The read model {self._found.name} has failed.", retry_after=_BROKEN_RETRY_AFTER)
        return self._found

    def _statement(self, template: str, sql: str) -> bytes:
        """The whole statement, cached per query; a program has a small fixed number of queries."""
        statement = self._statements.get((template, sql))
        if statement is None:
            query = self._projection.with_tables(sql, self._projection.reader_names())
            statement = (
                template.replace("{projection}", self._projection.name)
                .replace("{version}", str(self._projection.version))
                .replace("{most_lacking}", str(_MOST_LACKING))
                .replace("{query}", query)
                .encode()
            )
            self._statements[template, sql] = statement
        return statement


def _notice(row: tuple[object, ...]) -> CheckpointNotice:
    """The checkpoints in a row."""
    return msgspec.convert({"identity": row[0], "sequences": _SEQUENCES.decode(str(row[1]))}, CheckpointNotice)


def _converted(row_type: type[R], names: list[str], rows: list[tuple[object, ...]]) -> list[R]:
    return [msgspec.convert(dict(zip(names, values, strict=True)), row_type) for values in rows]
