"""Parameters and several hosts in the database URL: every connection honours them, also through a fail-over."""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from psycopg_pool import PoolTimeout

from contracts.errors import Unavailable
from contracts.services import OPERATOR
from infra.checkpoints import highest_at
from infra.embedded import postgres_server
from infra.embedded.child_process import Child, finish
from infra.embedded.postgres_server import PostgresServer
from infra.embedded.run_as import drop_privileges_for
from infra.runtime.connections import Pool, open_pool
from infra.runtime.database_probe import DatabaseWatch
from infra.security.postgres_roles import role_of, url_of
from infra.security.secrets import DATABASE_PARTIES
from infra.security.service_schemas import ServiceSchemas
from infra.settings import Settings
from infra.supervisor.readiness_probes import ServerSilent, given_database_answers
from projections.engine.storage.connections import connect
from tests.certificates import Authority, Pair

PATIENCE = 120.0
PASSWORD = "superuser"
FAST = {"fsync": "off", "shared_buffers": "32MB"}
WRITABLE = "target_session_attrs=read-write"


class TlsPostgres(PostgresServer):
    """A server with TLS."""

    def __init__(self, data_dir: Path, pair: Pair, passwords: dict[str, str]) -> None:
        files = {"ssl": "on", "ssl_cert_file": "server.pem", "ssl_key_file": "server.key"}
        super().__init__(data_dir, password=PASSWORD, passwords=passwords, settings={**FAST, **files})
        self._pair = pair

    async def _prepare(self) -> None:
        await super()._prepare()
        for source, name, mode in (
            (self._pair.certificate, "server.pem", 0o644),
            (self._pair.key, "server.key", 0o600),
        ):
            file = self._cluster / name
            file.touch(mode)
            file.write_bytes(source.read_bytes())
            drop_privileges_for(file, self._identity)


class Standby(PostgresServer):
    """A server that follows another, copied by `pg_basebackup`; ready when it answers queries."""

    async def _is_ready(self, child: Child) -> bool:
        return await self._answers()

    async def _initialize(self, child: Child) -> None:
        pass


async def open_and_close_pool(url: str) -> None:
    pool = await open_pool(url, "test", max_size=1)
    try:
        await pool.wait(8.0)
    finally:
        await pool.close()


async def connect_projection(url: str) -> None:
    await (await connect(url, "test")).close()


async def discover(url: str) -> None:
    await ServiceSchemas.discover(url)


async def read_checkpoint(url: str) -> None:
    await highest_at(url, "AUTH")


async def probe(url: str) -> None:
    await given_database_answers(Settings(database_url=url))


WAYS = (open_and_close_pool, connect_projection, discover, read_checkpoint, probe)


async def all_connect(url: str) -> None:
    """Connects in every way but the pool, concurrently: a host that does not answer costs each some seconds."""
    await asyncio.gather(*(way(url) for way in WAYS[1:]))


@contextlib.asynccontextmanager
async def watching(url: str) -> AsyncIterator["asyncio.Queue[bool]"]:
    """The reports of a watch, in their order."""
    reports: asyncio.Queue[bool] = asyncio.Queue()
    watch = DatabaseWatch(url, "test", on_change=reports.put_nowait)
    task = asyncio.create_task(watch.run())
    try:
        async with asyncio.timeout(PATIENCE):
            yield reports
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def address_of(server: PostgresServer) -> str:
    return server.url.rpartition("@")[2].partition("/")[0]


async def address_in_use(pool: Pool) -> str:
    """The address of the server that answers a query of the pool."""
    async with pool.connection() as conn:
        row = await (await conn.execute("SHOW port")).fetchone()
    assert row is not None
    return f"127.0.0.1:{row[0]}"


async def copy(primary: PostgresServer, folder: Path) -> None:
    """Copies the primary into a folder from which a standby can start."""
    folder.parent.mkdir()
    program = str(postgres_server._program("pg_basebackup"))
    arguments = ("--dbname", primary.url, "--pgdata", str(folder), "--write-recovery-conf", "--checkpoint", "fast")
    code, output = await finish([program, *arguments], environ={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})
    assert code == 0, output


async def test_tls_parameters_in_the_url_hold_for_every_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The embedded server is built without TLS.
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("the machine has no PostgreSQL with TLS in /usr/lib/postgresql")
    monkeypatch.setattr(postgres_server, "_program", folders[-1].joinpath)
    authority, stranger = Authority(tmp_path, "authority"), Authority(tmp_path, "stranger")
    passwords = {party: secrets.token_hex(8) for party in DATABASE_PARTIES}
    server = TlsPostgres(tmp_path / "postgres", authority.issue("server"), passwords)
    await server.start()
    try:
        # A login in the query overrides one before the host.
        base = f"{server.url}?user=vestnik&password={PASSWORD}&sslmode=verify-full&sslrootcert="
        operator = url_of(base, OPERATOR, passwords[OPERATOR])
        for way in WAYS:
            await way(f"{operator}{authority.file}")
            with pytest.raises((PoolTimeout, Unavailable, ServerSilent)):
                await way(f"{operator}{stranger.file}")
        async with watching(f"{operator}{stranger.file}") as reports:
            assert await reports.get() is False
        schemas = await ServiceSchemas.discover(f"{operator}{authority.file}")
        contact = url_of(f"{base}{authority.file}", "contact", passwords["contact"])
        for url in (contact, schemas.url("contact")):
            conn = await connect(url, "test")
            cursor = await conn.execute("SELECT current_user::text")
            assert (await cursor.fetchone(), conn.pgconn.ssl_in_use) == ((role_of("contact"),), True)
            await conn.close()
        with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
            await psycopg.AsyncConnection.connect(url_of(f"{base}{stranger.file}", "contact", passwords["contact"]))
    finally:
        await server.stop()


async def test_every_connection_finds_the_primary_and_a_fail_over_is_survived(tmp_path: Path) -> None:
    primary = PostgresServer(tmp_path / "primary", password=PASSWORD, settings=FAST)
    standby = Standby(tmp_path / "standby", password=PASSWORD, settings=FAST)
    try:
        await primary.start()
        await copy(primary, tmp_path / "standby" / "cluster")
        await standby.start()
        # One host accepts connections and says nothing, as a machine that hangs.
        with socket.create_server(("127.0.0.1", 0)) as silent:
            hosts = f"127.0.0.1:{silent.getsockname()[1]},{address_of(standby)},{address_of(primary)}"
            url = f"postgresql://vestnik:{PASSWORD}@{hosts}/vestnik?{WRITABLE}"
            await all_connect(url)
            two = url.replace(hosts, f"{address_of(standby)},{address_of(primary)}")
            pool = await open_pool(two, "test", max_size=2)
            async with watching(url) as reports:
                # Not in the seconds for the silent host; then the primary answers.
                assert [await reports.get(), await reports.get()] == [False, True]
                assert await address_in_use(pool) == address_of(primary)
                primary.kill()
                async with await psycopg.AsyncConnection.connect(standby.url, autocommit=True) as admin:
                    await admin.execute("SELECT pg_promote(true, 120)")
                async with asyncio.timeout(PATIENCE):
                    while True:
                        with contextlib.suppress(psycopg.OperationalError):
                            assert await address_in_use(pool) == address_of(standby)
                            break
                        await asyncio.sleep(0.05)
                assert [await reports.get(), await reports.get()] == [False, True]
            await pool.close()
            await all_connect(url)
    finally:
        await standby.stop()
        await primary.stop()
