"""Reads the read models of every service with an operator's rights, over one connection per query."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec
from psycopg import Error as DatabaseError
from psycopg import errors
from psycopg.types.string import TextLoader

from contracts.errors import ReadModelBehind, Unavailable
from infra.security.service_schemas import CachedSchemas
from projections.engine.projection import Projection
from projections.engine.storage.builds import Connection
from projections.engine.storage.connections import connect, database_unavailable
from projections.registry import choose

R = TypeVar("R", bound=msgspec.Struct)

# Seconds.
_PATIENCE = 5.0
# A request for a person or an event reads every read model; the services need the database's connections more.
_MOST_CONNECTIONS = 4


class ReadModels:
    """The live build of every read model, in the schema of its service."""

    def __init__(self, schemas: CachedSchemas, *, patience: float = _PATIENCE) -> None:
        self._schemas = schemas
        self._patience = patience
        self._connections = asyncio.Semaphore(_MOST_CONNECTIONS)

    async def select(
        self, name: str, row_type: type[R], sql: str, params: Mapping[str, object] | None = None
    ) -> list[R]:
        """Runs a query over the `{table}`s of the projection `name`, with a timeout of `patience` seconds.

        Columns are matched to the fields of `row_type` by name; UUIDs are returned as text. Parameters are `%(name)s`.

        Raises:
            ReadModelBehind: the read model has not been built yet.
            Unavailable: the database does not answer, or not in time.
        """
        (projection,) = choose((name,))
        statement = projection.with_tables(sql, projection.reader_names()).encode()
        async with self.database_of(projection) as conn, conn.cursor() as cursor:
            cursor.adapters.register_loader("uuid", TextLoader)
            await cursor.execute(statement, params)
            names = [column.name for column in cursor.description or ()]
            rows = await cursor.fetchall()
        return [msgspec.convert(dict(zip(names, row, strict=True)), row_type) for row in rows]

    @asynccontextmanager
    async def database_of(self, projection: type[Projection]) -> AsyncIterator[Connection]:
        """Opens a connection that acts for the projection's service; its use is limited to `patience` seconds.

        Raises:
            ReadModelBehind: the read model has not been built yet.
            Unavailable: the database does not answer, or not in time.
        """
        try:
            async with asyncio.timeout(self._patience), self._connections:
                conn = await connect((await self._schemas.get()).url(projection.run_by()), "operator read-models")
                try:
                    yield conn
                finally:
                    await conn.close()
        except errors.UndefinedTable as error:
            raise ReadModelBehind(f"The read model {projection.name} is being built.", retry_after=1) from error
        except TimeoutError as error:
            raise Unavailable("The database does not answer in time.", retry_after=1) from error
        except DatabaseError as error:
            raise database_unavailable(error) from error
