"""Two replicas of session that share only the stream."""

from collections.abc import AsyncIterator

import nats as nats_py
import pytest
import pytest_asyncio
from nats.aio.client import Client as NATS

from infra.embedded.nats_server import NatsServer
from infra.security.secrets import Secrets
from services.session.commands import Commands
from tests.integration.auth_and_session import Clock, services, session_commands

__all__ = ["services"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def replicas(
    streams: NATS, nats_server: NatsServer, secrets: Secrets, clock: Clock
) -> AsyncIterator[tuple[Commands, Commands]]:
    second = await nats_py.connect(nats_server.url)
    try:
        yield session_commands(streams, secrets, clock), session_commands(second, secrets, clock)
    finally:
        await second.close()
