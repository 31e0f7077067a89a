"""Reading a read model: rows together with the position that they reflect.

Rows and checkpoint come from one statement, hence one snapshot: the position is neither older nor newer than the data,
also while another build is being put under the views (readers hold a lock on the view from before their snapshot).
"""

from collections.abc import Mapping
from typing import Generic, TypeVar

import msgspec
from psycopg import OperationalError, errors
from psycopg.types.string import TextLoader

from contracts.errors import ReadModelBehind, Unavailable
from contracts.positions import Position
from infra.connections import Pool
from projections.engine.projection import Projection
from projections.engine.waiting import Reached, Waiting

P = TypeVar("P", bound=Projection)
R = TypeVar("R", bound=msgspec.Struct)

_WITH_POSITION = """
SELECT at.identity, at.sequences, found.* FROM (
    SELECT b.identity::text, jsonb_object_agg(c.stream, c.sequence) AS sequences
    FROM projection_builds AS b JOIN projection_checkpoints AS c USING (projection, version, build)
    WHERE b.projection = '{projection}' AND b.version = {version} AND b.state = 'live' GROUP BY b.identity
) AS at LEFT JOIN (SELECT row_number() OVER () AS place, row.* FROM ({query}) AS row) AS found ON true
ORDER BY found.place
"""


class ReadModel(Generic[P]):
    def __init__(self, projection: type[P], pool: Pool, waiting: Waiting) -> None:
        self._projection = projection
        self._pool = pool
        self._waiting = waiting
        self._views = {table: projection.view(table) for table in projection.table_names()}
        self._statements: dict[str, bytes] = {}

    async def select(
        self, row_type: type[R], sql: str, params: Mapping[str, object] | None = None
    ) -> tuple[list[R], Position]:
        """Runs a query over the read model's `{table}`s; the rows keep its order.

        Columns are matched to the fields of `row_type` by name; UUIDs come as text. Parameters are `%(name)s`.

        Raises:
            ReadModelBehind: the read model has not been built yet.
            Unavailable: the database does not answer.
        """
        try:
            names, rows = await self._fetch(sql, params or {})
        except errors.UndefinedTable as error:
            raise ReadModelBehind("The read model is being built.", retry_after=1) from error
        except OperationalError as error:
            raise Unavailable("The read model cannot be read just now.", retry_after=1) from error
        if not rows:
            raise ReadModelBehind("The read model is being built.", retry_after=1)
        reached = msgspec.convert({"identity": rows[0][0], "sequences": rows[0][1]}, Reached)
        self._waiting.moved(self._projection, reached)
        found = [
            msgspec.convert(dict(zip(names, values, strict=True)), row_type)
            for _, _, place, *values in rows
            if place is not None
        ]
        return found, Position(reached.sequences)

    async def wait_for(self, position: Position, timeout: float = 5.0) -> None:
        """Returns once the read model has reached the position, of which only the streams that it reads count.

        Raises:
            ReadModelBehind: it has not within `timeout` seconds.
        """
        await self._waiting.wait(self._projection, position, timeout)

    async def _fetch(self, sql: str, params: Mapping[str, object]) -> tuple[list[str], list[tuple[object, ...]]]:
        async with self._pool.connection() as conn, conn.cursor() as cursor:
            cursor.adapters.register_loader("uuid", TextLoader)
            await cursor.execute(self._statement(sql), params)
            return [column.name for column in cursor.description or ()][3:], await cursor.fetchall()

    def _statement(self, sql: str) -> bytes:
        """The whole statement; made once for each query, of which a program has a fixed few."""
        found = self._statements.get(sql)
        if found is None:
            query = self._projection.with_tables(sql, self._views)
            found = (
                _WITH_POSITION.replace("{projection}", self._projection.name)
                .replace("{version}", str(self._projection.version))
                .replace("{query}", query)
                .encode()
            )
            self._statements[sql] = found
        return found
