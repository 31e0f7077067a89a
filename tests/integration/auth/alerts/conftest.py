"""An account that has logged in once."""

import pytest_asyncio

from tests.integration.auth.alerts.alert_mails import register
from tests.integration.auth_and_session import Services


@pytest_asyncio.fixture
async def anna(services: Services) -> str:
    return await register(services, "anna")
