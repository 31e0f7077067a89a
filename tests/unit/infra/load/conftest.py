import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.unit.infra.load.fake_gateway import FakeGateway, GatewayConnection


@pytest_asyncio.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[FakeGateway]:
    """A fake gateway that listens and has no users."""
    fake = FakeGateway(tmp_path / "mail")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: GatewayConnection(fake.answer), "127.0.0.1", 0)
    fake.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield fake
    finally:
        server.close()
        await server.wait_closed()
