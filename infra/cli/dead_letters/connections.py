"""The connections of `vestnik dead-letters`, as an operator."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from nats.aio.client import Client as NATS

from infra.cli.reader_connection import connect_reader
from infra.security.service_schemas import ServiceSchemas
from infra.settings import Settings
from projections.engine.dead_letters import discards
from projections.engine.projection import Projection
from projections.engine.storage.builds import Connection
from projections.engine.storage.operator_connection import operator_connection

# Seconds to wait for a stream, while the build's writer may be waiting for this command.
PATIENCE = 5.0


@asynccontextmanager
async def nats_connection(settings: Settings) -> AsyncIterator[NATS]:
    nc = await connect_reader(settings, "operator-dead-letters", patience=PATIENCE)
    try:
        yield nc
    finally:
        await nc.close()


def database_connection(database_url: str) -> AbstractAsyncContextManager[Connection]:
    return operator_connection(database_url, "vestnik dead-letters")


@asynccontextmanager
async def database_of(settings: Settings, nc: NATS, projection: type[Projection]) -> AsyncIterator[Connection]:
    """Connects to the database for the projection's service, after applying recorded discards."""
    owners = await ServiceSchemas.discover(settings.database_url)
    async with database_connection(owners.url(projection.run_by())) as conn:
        await discards.catch_up(conn, nc, projection.name)
        yield conn
