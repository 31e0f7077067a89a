"""Two replicas of every service that profile needs, shared by the tests of a module."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.integration.service_cluster import House


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    house = House(tmp_path_factory.mktemp("profile"), ("auth", "profile"))
    try:
        await house.start()
        yield house
    finally:
        await house.stop()
