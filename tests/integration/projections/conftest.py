"""A writer of events, and runners that stop with the test."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest_asyncio
from nats.aio.client import Client

from projections.engine import Projection, Runners
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import Opened, Writer


@pytest_asyncio.fixture
async def writer(streams: Client) -> Writer:
    return Writer(streams)


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
