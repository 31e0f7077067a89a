"""The servers that a measurement needs, each on an empty folder of its own."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from infra.embedded.nats_server import NatsServer
from infra.embedded.postgres_server import PostgresServer
from streams.jetstream.client import Client
from streams.topology import ensure_streams


@asynccontextmanager
async def nats(*, sync_always: bool) -> AsyncIterator[tuple[Client, str]]:
    """A connection to a server with all streams, and the server's URL."""
    with tempfile.TemporaryDirectory() as folder:
        server = NatsServer(Path(folder), sync_always=sync_always)
        await server.start()
        client = Client()
        try:
            await client.connect(server.url)
            await ensure_streams(client, replicas=1)
            yield client, server.url
        finally:
            await client.close()
            await server.stop()


@asynccontextmanager
async def postgres() -> AsyncIterator[str]:
    """The URL of a server with its own defaults of durability: `fsync` and `synchronous_commit` are on."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer(Path(folder) / "postgres")
        await server.start()
        try:
            yield server.url
        finally:
            await server.stop()
