"""One PostgreSQL per test process, and one new database per test, copied from an unmodified template."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from infra.embedded.postgres_server import PostgresServer

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    """A running server, shared by the tests of this process; they must not kill it."""
    folder: Path = tmp_path_factory.mktemp("postgres")
    server = PostgresServer(folder, settings={"fsync": "off", "shared_buffers": "64MB"})
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest_asyncio.fixture
async def database_url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """The URL of an empty database that is dropped after the test."""
    name = f"test_{secrets.token_hex(6)}"
    async with await psycopg.AsyncConnection.connect(postgres_server.url, autocommit=True) as admin:
        await admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        try:
            yield postgres_server.url.rsplit("/", 1)[0] + f"/{name}"
        finally:
            await admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest_asyncio.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """A pool of autocommit connections to the test's database."""
    async with AsyncConnectionPool(
        database_url, min_size=1, max_size=8, open=False, kwargs={"autocommit": True}
    ) as opened:
        yield opened
