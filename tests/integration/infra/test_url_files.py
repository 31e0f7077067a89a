"""Logins in files: a password that changes while a process runs is used for its next connection."""

import asyncio
import os
import signal
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from contracts.errors import Unavailable
from infra import url_files
from infra.checkpoints import highest_at
from infra.embedded.nats_server import NatsServer
from infra.embedded.postgres_server import PostgresServer
from infra.runtime.connections import connect_nats, open_pool
from infra.runtime.database_probe import DatabaseWatch
from infra.security.secrets import NATS_PARTIES
from infra.security.service_schemas import ServiceSchemas
from infra.settings import Settings
from infra.supervisor.readiness_probes import given_database_answers
from projections.engine.storage.connections import connect
from tests.integration.infra.failed_connections import failure_of

PATIENCE = 60.0


class ReloadedNats(NatsServer):
    """A server whose passwords are changed by a reload of its configuration."""

    def change_passwords(self, password: str) -> None:
        config = self._folder / "nats.conf"
        assert self._child is not None
        config.write_text(config.read_text().replace('"password": "old"', f'"password": "{password}"'))
        os.kill(self._child.pid, signal.SIGHUP)


async def test_a_nats_password_changed_in_the_file_is_used_for_the_next_connection(tmp_path: Path) -> None:
    server = ReloadedNats(tmp_path / "nats", passwords=dict.fromkeys(NATS_PARTIES, "old"))
    await server.start()
    try:
        file = tmp_path / "nats-url"
        file.write_text(f"{server.url_of('auth')}\n")
        settings = Settings.made_of({"nats_url_file": str(file)})
        nc = await connect_nats(settings, "auth-test", patience=PATIENCE)
        try:
            # The server ends the connection, since its login is no longer good; the file has the good one later.
            server.change_passwords("new")
            async with asyncio.timeout(PATIENCE):
                while nc.is_connected:
                    await asyncio.sleep(0.05)
            assert not nc.is_closed
            file.write_text(server.url_of("auth").replace(":old@", ":new@"))
            async with asyncio.timeout(PATIENCE):
                while not nc.is_connected:
                    await asyncio.sleep(0.05)
            await nc.flush()
        finally:
            await nc.close()
        assert "refuses the login" in await failure_of(Settings(nats_url=server.url_of("auth")))
    finally:
        await server.stop()


async def connections(admin: psycopg.AsyncConnection[object], role: str) -> int:
    cursor = await admin.execute("SELECT pid FROM pg_stat_activity WHERE usename = %s AND state = 'idle'", [role])
    return len(await cursor.fetchall())


async def test_a_database_password_changed_in_the_file_is_used_for_the_next_connection(
    tmp_path: Path, postgres_server: PostgresServer, database_url: str
) -> None:
    role = f"login_{database_url.rpartition('_')[2]}"
    file = tmp_path / "database-url"
    url = url_files.reference(str(file))

    async def set_password(admin: psycopg.AsyncConnection[object], password: str) -> None:
        await admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), password))
        address = database_url.rpartition("@")[2]
        file.write_text(f"postgresql://{role}:{password}@{address}\n")

    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as admin:
        await admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        try:
            await set_password(admin, "old")
            pool = await open_pool(url, "test", max_size=1)
            reports: asyncio.Queue[bool] = asyncio.Queue()
            watch = asyncio.create_task(DatabaseWatch(url, "test", on_change=reports.put_nowait).run())
            try:
                async with asyncio.timeout(PATIENCE):
                    # Of the pool and of the watch.
                    while await connections(admin, role) < 2:
                        await asyncio.sleep(0.01)
                    await set_password(admin, "new")
                    hidden = file.rename(tmp_path / "hidden")
                    await admin.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [role]
                    )
                    assert await reports.get() is False
                    with pytest.raises(Unavailable, match="database-url cannot be read"):
                        await connect(url, "test")
                    hidden.rename(file)
                    assert await reports.get() is True
                    async with pool.connection() as conn:
                        row = await (await conn.execute("SELECT current_user::text")).fetchone()
                assert row == (role,)
                await (await connect(url, "test")).close()
                await highest_at(url, "AUTH")
                await ServiceSchemas.discover(url)
                await given_database_answers(Settings(database_url=url))
            finally:
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)
                await pool.close()
        finally:
            await admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
