"""Two replicas of auth that share only the streams, and a user of auth and session over gRPC."""

from collections.abc import AsyncIterator

import nats as nats_py
import pytest
import pytest_asyncio
from nats.aio.client import Client as NATS

from contracts.rpc.vestnik.auth.v1 import RegisterRequest, VerifyEmailRequest
from contracts.subjects import DATA_KEYS
from infra.embedded.nats_server import NatsServer
from infra.security.secrets import Secrets
from streams.personal_data.key_store import KeyStore
from streams.topology import ensure_bucket
from tests.integration.auth_and_session import PASSWORD, Auth, Clock, Services, services

__all__ = ["services"]


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


@pytest_asyncio.fixture
async def anna(services: Services) -> str:
    """A registered and verified user; returns the id."""
    answer = await services.to_auth.call(
        services.auth.register, RegisterRequest(email="anna@example.org", username="anna", password=PASSWORD)
    )
    assert answer.user is not None
    token = await services.auth_replica.token("anna@example.org")
    await services.to_auth.call(services.auth.verify_email, VerifyEmailRequest(token=token))
    return answer.user.user_id


@pytest.fixture
async def store(streams: NATS) -> KeyStore:
    await ensure_bucket(streams, DATA_KEYS, replicas=1)
    return KeyStore(streams)
