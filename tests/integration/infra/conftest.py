"""The logins of a deployment's database."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.integration.infra.postgres_logins import Logins, logins


@pytest_asyncio.fixture
async def postgres_logins(database_url: str) -> AsyncIterator[Logins]:
    async with logins(database_url) as opened:
        yield opened
