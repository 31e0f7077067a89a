"""A separate NATS server for every test that needs one, since tests kill it and fill it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from infra.embedded.nats_server import NatsServer
from streams.jetstream.client import Client
from streams.topology import ensure_streams


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_nats_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsServer]:
    """A running server shared by tests that use their own streams; they must not kill it."""
    server = NatsServer(tmp_path_factory.mktemp("shared-nats"))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest_asyncio.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A running server with an empty store; the test may kill it and start it again."""
    server = NatsServer(tmp_path / "nats")
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest_asyncio.fixture
async def nats(nats_server: NatsServer) -> AsyncIterator[Client]:
    """A client connected to the test's server, which reconnects quickly."""
    client = Client()
    await client.connect(
        nats_server.url,
        reconnect_time_wait=0.05,  # type: ignore[arg-type]  # seconds that it sleeps; a fraction is meant
        max_reconnect_attempts=-1,
    )
    try:
        yield client
    finally:
        await client.close()


@pytest_asyncio.fixture
async def streams(nats: Client) -> Client:
    """The client, with the streams created."""
    await ensure_streams(nats, replicas=1)
    return nats
