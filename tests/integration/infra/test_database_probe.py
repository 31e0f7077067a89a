"""Readiness notices that the database is gone, and outlasts a connection that breaks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from infra.runtime.database_probe import DatabaseWatch
from tests.conditions import until

PATIENCE = 120.0
# A system's own five seconds would be too short on a busy machine for what must not be noticed.
LONG = 1_000.0


async def test_a_dropped_database_is_noticed_and_so_is_another_in_its_place(database_url: str) -> None:
    admin_url, name = database_url.rsplit("/", 1)
    reports: list[bool] = []
    watch = DatabaseWatch(database_url, "test", silent_after=3.0, on_change=reports.append)
    admin = await psycopg.AsyncConnection.connect(f"{admin_url}/postgres", autocommit=True)
    async with watching(watch), admin:
        await until(watch.answers)
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        await until(lambda: not watch.answers())
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        await until(watch.answers)
    assert reports == [False, True]


async def test_a_broken_connection_is_replaced_and_takes_nothing_out(database_url: str) -> None:
    watch = DatabaseWatch(database_url, "test", silent_after=LONG)
    async with watching(watch), await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:

        async def pid() -> int:
            async with asyncio.timeout(PATIENCE):
                while True:
                    cursor = await other.execute(
                        "SELECT pid FROM pg_stat_activity WHERE application_name = 'test readiness'"
                        " AND datname = current_database()"
                    )
                    if row := await cursor.fetchone():
                        return int(row[0])
                    await asyncio.sleep(0.02)

        first = await pid()
        await other.execute("SELECT pg_terminate_backend(%s, 60000)", (first,))
        assert await pid() != first
        assert watch.answers()


@asynccontextmanager
async def watching(watch: DatabaseWatch) -> AsyncIterator[DatabaseWatch]:
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
