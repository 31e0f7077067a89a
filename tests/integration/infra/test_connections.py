"""Connecting: a server that refuses the login or does not answer is reported as that, within the time limit."""

import asyncio
import select
import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from nats.aio.transport import TcpTransport

from contracts.errors import Unavailable
from contracts.subjects import AUTH
from infra.checkpoints import Checkpoints
from infra.embedded.nats_server import NatsServer
from infra.runtime import connections
from infra.runtime.connections import Pool, connect_nats, open_pool
from infra.security.secrets import NATS_PARTIES
from infra.settings import Settings
from streams.jetstream.client import Client
from tests.integration.infra.failed_connections import failure_of


async def test_a_login_that_nats_refuses_is_given_up_in_time(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats", passwords=dict.fromkeys(NATS_PARTIES, "right"))
    await server.start()
    url = server.url_of("auth")
    assert "refuses the login" in await failure_of(Settings(nats_url=url.replace("right", "wrong")))
    await server.stop()


async def test_a_connection_is_closed_whose_time_is_over_while_the_library_closes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = NatsServer(tmp_path / "nats", passwords=dict.fromkeys(NATS_PARTIES, "right"))
    await server.start()
    begun: list[Client] = []

    async def interrupted(client: Client, force_flush: bool = False) -> None:
        if client.is_closed:
            begun.append(client)
            await asyncio.Event().wait()

    monkeypatch.setattr(Client, "_flush_pending", interrupted)
    assert "refuses the login" in await failure_of(Settings(nats_url=server.url_of("auth").replace("right", "wrong")))
    for client in begun:
        assert isinstance(client._transport, TcpTransport)
        assert client._transport._io_writer is not None
        assert client._transport._io_writer.transport.is_closing()
    assert begun
    await server.stop()


@pytest.mark.parametrize("in_file", [False, True])
async def test_a_password_for_nats_is_percent_encoded_in_its_url(tmp_path: Path, in_file: bool) -> None:
    password = "p@ss/w%rd?#,"
    server = NatsServer(tmp_path / "nats", passwords=dict.fromkeys(NATS_PARTIES, "right") | {"auth": password})
    await server.start()
    try:
        url = server.url_of("auth").replace(password, quote(password, safe=""))
        (tmp_path / "nats-url").write_text(url)
        values = {"nats_url_file": str(tmp_path / "nats-url")} if in_file else {"nats_url": url}
        nc = await connect_nats(Settings.made_of(values), "auth-test", patience=60.0)
        await nc.close()
    finally:
        await server.stop()


async def test_a_server_that_takes_the_connection_and_says_nothing_is_not_said_to_refuse_us() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = Settings(nats_url=f"nats://auth:right@127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(Unavailable, match="does not answer"):
            await connect_nats(settings, "test", patience=0.5)


async def test_a_connection_that_the_database_has_closed_is_replaced_before_it_is_handed_out(database_url: str) -> None:
    pool = await open_pool(database_url, "test", max_size=1)
    async with pool.connection() as first:
        pid, descriptor = first.info.backend_pid, first.fileno()
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
        await other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    assert select.select([descriptor], [], [], 5) == ([descriptor], [], [])
    async with pool.connection() as second:
        assert second.info.backend_pid != pid
        assert await (await second.execute("SELECT 1")).fetchone() == (1,)
    await pool.close()


async def test_connections_that_nothing_uses_are_closed(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_IDLE_SECONDS", 0.05)
    pool = await open_pool(database_url, "test", max_size=3)
    async with pool.connection(), pool.connection(), pool.connection():
        assert pool.get_stats()["pool_size"] == 3
    async with asyncio.timeout(10):
        while pool.get_stats()["pool_size"] > 1:
            await asyncio.sleep(0.01)
    await pool.close()


async def test_a_pool_opens_without_its_database_and_finds_it_later(database_url: str) -> None:
    urls = ["postgresql://vestnik@127.0.0.1:1/vestnik"]

    async def url() -> str:
        return urls[-1]

    pool = await open_pool(url, "test", max_size=1)
    needed = Checkpoints(pool, AUTH)
    with pytest.raises(Unavailable, match="database does not answer"):
        await needed.highest()
    assert await Checkpoints(pool, AUTH, needed=False).highest() == 0
    urls.append(database_url)
    async with asyncio.timeout(60):
        while True:
            with suppress(Unavailable):
                assert await needed.highest() == 0
                break
    urls.append(urls[0])
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
        await other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'test'"
            " AND datname = current_database()"
        )
    assert await needed.highest() == 0
    await pool.close()


async def test_while_the_database_is_silent_whatever_needs_it_fails_at_once(database_url: str) -> None:
    pool = await open_pool(database_url, "test", max_size=1)
    await pool.wait(60)
    asking = asyncio.create_task(_ask(pool, "SELECT pg_sleep(600)"))
    while pool.get_stats()["pool_available"]:
        await asyncio.sleep(0.01)
    waiting = asyncio.create_task(_ask(pool, "SELECT 1"))
    while not pool.get_stats()["requests_waiting"]:
        await asyncio.sleep(0.01)
    pool.set_answering(False)
    async with asyncio.timeout(60):
        for task in (asking, waiting, asyncio.create_task(_ask(pool, "SELECT 1"))):
            with pytest.raises(psycopg.OperationalError):
                await task
    pool.set_answering(True)
    assert await _ask(pool, "SELECT 2") == (2,)
    await pool.close()


async def test_connections_from_before_a_silence_are_replaced(database_url: str) -> None:
    pool = await open_pool(database_url, "test", max_size=2)
    async with pool.connection() as one, pool.connection() as other:
        pids = [one.info.backend_pid, other.info.backend_pid]
    # Both are idle, and might lead to a primary that is gone.
    pool.set_answering(False)
    pool.set_answering(True)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as observer, asyncio.timeout(60):
        while await (await observer.execute("SELECT 1 FROM pg_stat_activity WHERE pid = ANY(%s)", (pids,))).fetchone():
            await asyncio.sleep(0.02)
    assert await _ask(pool, "SELECT 3") == (3,)
    await pool.close()


async def _ask(pool: Pool, query: str) -> object:
    async with pool.connection(timeout=600) as connection:
        return await (await connection.execute(query.encode())).fetchone()


async def test_a_connection_is_handed_out_without_a_word_to_the_database(database_url: str) -> None:
    pool = await open_pool(database_url, "test", max_size=1)
    async with pool.connection() as first:
        await first.execute("SELECT 'the last word'")
    async with pool.connection() as second, await psycopg.AsyncConnection.connect(database_url) as other:
        cursor = await other.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", (second.info.backend_pid,))
        assert await cursor.fetchone() == ("SELECT 'the last word'",)
    await pool.close()
