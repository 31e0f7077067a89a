"""A writer of events, a connection and a build for direct writes, and runners that stop with the test."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest_asyncio
from nats.aio.client import Client

from projections.engine import Projection, Runners
from projections.engine.rebuild.cutover import start_build
from projections.engine.storage.builds import Build, Connection
from projections.engine.storage.connections import connect
from projections.engine.storage.schema import ensure_schema
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import Opened, Writer
from tests.integration.projections.sample_projection import Letters


@pytest_asyncio.fixture
async def writer(streams: Client) -> Writer:
    return Writer(streams)


@pytest_asyncio.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    """A connection to a database that has the engine's tables."""
    opened = await connect(database_url, "a test")
    try:
        await ensure_schema(opened)
        yield opened
    finally:
        await opened.close()


@pytest_asyncio.fixture
async def build(conn: Connection) -> Build:
    return await start_build(conn, Letters)


@pytest_asyncio.fixture
async def run(streams: Client, pool: Pool, database_url: str) -> AsyncIterator[Opened]:
    """Starts runners that are stopped after the test."""
    async with AsyncExitStack() as stack:

        async def start(*projections: type[Projection], nc: Client | None = None) -> Runners:
            runners = Runners(projections, nc or streams, pool, database_url)
            await runners.start()
            stack.push_async_callback(runners.stop)
            return runners

        yield start
