"""Two replicas of auth that share only the streams."""

from collections.abc import AsyncIterator
from pathlib import Path

import nats as nats_py
import pytest
import pytest_asyncio
from nats.aio.client import Client as NATS

from infra.embedded.nats_server import NatsServer
from infra.security.secrets import Secrets
from tests.integration.auth_and_session import Auth, Clock


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets.create(tmp_path / "secrets")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def replicas(
    streams: NATS, nats_server: NatsServer, secrets: Secrets, clock: Clock
) -> AsyncIterator[tuple[Auth, Auth]]:
    second = await nats_py.connect(nats_server.url)
    one, other = Auth(streams, secrets, clock), Auth(second, secrets, clock)
    try:
        yield one, other
    finally:
        one.passwords.close()
        other.passwords.close()
        await second.close()
