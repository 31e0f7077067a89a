"""The connections of `vestnik dead-letters`, as an operator."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client as NATS
from psycopg import Error as DatabaseError

from infra.cli.reader_connection import connect_reader
from infra.security.service_schemas import ServiceSchemas
from infra.settings import Settings
from projections.engine.dead_letters import discards
from projections.engine.projection import Projection
from projections.engine.storage.builds import Connection
from projections.engine.storage.connections import connect, database_unavailable
from projections.engine.storage.schema import ensure_schema

# Seconds to wait for a stream, while the build's writer may be waiting for this command.
PATIENCE = 5.0


@asynccontextmanager
async def nats_connection(settings: Settings) -> AsyncIterator[NATS]:
    nc = await connect_reader(settings, "operator-dead-letters", patience=PATIENCE)
    try:
        yield nc
    finally:
        await nc.close()


@asynccontextmanager
async def database_connection(database_url: str) -> AsyncIterator[Connection]:
    conn = await connect(database_url, "vestnik dead-letters")
    try:
        await ensure_schema(conn)
        yield conn
    except DatabaseError as error:
        raise database_unavailable(error) from error
    finally:
        await conn.close()


@asynccontextmanager
async def database_of(settings: Settings, nc: NATS, projection: type[Projection]) -> AsyncIterator[Connection]:
    """Connects to the database for the projection's service, after applying recorded discards."""
    owners = await ServiceSchemas.discover(settings.database_url)
    async with database_connection(owners.url(projection.run_by())) as conn:
        await discards.catch_up(conn, nc, projection.name)
        yield conn
