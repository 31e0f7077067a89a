"""An operator who retries and discards, and a handler that is corrected during the test."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from nats.aio.client import Client

from projections.engine.storage.connections import connect
from projections.engine.storage.schema import ensure_schema
from tests.integration.projections import sample_projection
from tests.integration.projections.dead_letters.operator_actions import FixHandler, Operator


@pytest_asyncio.fixture
async def operator(streams: Client, database_url: str) -> AsyncIterator[Operator]:
    conn = await connect(database_url, "operator")
    await ensure_schema(conn)
    try:
        yield Operator(streams, conn, database_url)
    finally:
        await conn.close()


@pytest.fixture
def fix_handler(monkeypatch: pytest.MonkeyPatch) -> FixHandler:
    """Makes the handler accept the events that it refused before."""
    return lambda: monkeypatch.setattr(sample_projection, "POISON", "no message says this")
