"""The database disappears under a running system."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import sql

from tests.fix_system import System, wait_until


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[System]:
    system = System(tmp_path / "data")
    try:
        system.start()
        yield system
    finally:
        system.stop()


def test_readiness_notices_that_the_database_is_gone(alone: System) -> None:
    async def drop() -> None:
        place, name = alone.superusers_database_url().rsplit("/", 1)
        async with await psycopg.AsyncConnection.connect(f"{place}/template1", autocommit=True) as admin:
            await admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    asyncio.run(drop())
    wait_until(lambda: not alone.is_ready(), "/readyz says that the database is gone")
    answer = httpx.get(f"{alone.url}/readyz")
    assert answer.status_code == 503
    assert set(answer.json()["missing"]) <= {"auth", "session", "profile", "contact", "messaging"}
    assert answer.headers["retry-after"] == "1"
