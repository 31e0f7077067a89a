from collections.abc import AsyncIterator

import httpx
import pytest_asyncio

from tests.e2e.people import Api
from tests.fix_system import System


def client(system: System) -> httpx.AsyncClient:
    """Enough connections for the storms, and patience for a system whose parts are being killed."""
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    return httpx.AsyncClient(base_url=system.url, timeout=60, limits=limits, verify=False)


@pytest_asyncio.fixture
async def api(system: System) -> AsyncIterator[Api]:
    async with client(system) as http:
        yield Api(system, http)


@pytest_asyncio.fixture
async def fragile_api(fragile_system: System) -> AsyncIterator[Api]:
    async with client(fragile_system) as http:
        yield Api(fragile_system, http)


@pytest_asyncio.fixture
async def own_api(own_system: System) -> AsyncIterator[Api]:
    async with client(own_system) as http:
        yield Api(own_system, http)


@pytest_asyncio.fixture
async def fresh_api(fresh_system: System) -> AsyncIterator[Api]:
    async with client(fresh_system) as http:
        yield Api(fresh_system, http)
