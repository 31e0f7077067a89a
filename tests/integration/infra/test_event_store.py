"""How processes open the event store: they wait for it at their start; one node alone needs no evidence of a quorum."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from nats import connect
from nats.aio.client import Client as NATS

from contracts.subjects import AUTH, QUORUM
from infra.embedded.nats_server import NatsServer
from infra.embedded.ports import free_port
from infra.runtime.event_store import StopRequested, open_event_store, quorum_of_process
from infra.runtime.service_process import service_process
from infra.security.secrets import Secrets
from infra.settings import Settings
from services.gateway import main as gateway_main
from streams.topology import ensure_quorum, ensure_streams

WITHIN = 120.0


async def test_one_node_alone_needs_no_evidence_and_no_stream_for_it(nats: NATS) -> None:
    assert await quorum_of_process(Settings(), nats, "contact") is None
    await ensure_quorum(nats, replicas=1)
    assert QUORUM not in [info.config.name for info in await nats.jetstream().streams_info()]


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """Settings of a process whose NATS server does not answer."""
    Secrets.create(tmp_path / "secrets")
    return Settings(
        nats_url=f"nats://127.0.0.1:{free_port()}",
        database_url=database_url,
        listen=f"127.0.0.1:{free_port()}",
        metrics_listen=f"127.0.0.1:{free_port()}",
        host="127.0.0.1",
        port=free_port(),
        secrets_dir=str(tmp_path / "secrets"),
    )


@asynccontextmanager
async def nats_at(settings: Settings, folder: Path) -> AsyncIterator[None]:
    server = NatsServer(folder / "nats", port=int(settings.nats_url.rpartition(":")[2]))
    await server.start()
    try:
        async with await connect(server.url) as connection:
            await ensure_streams(connection, replicas=1)
        yield
    finally:
        await server.stop()


async def waits(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """Waits until the process says what it waits for, and shows that it is alive."""
    async with asyncio.timeout(WITHIN):
        while "waiting for the event store: NATS does not answer." not in caplog.messages:
            await asyncio.sleep(0.05)
    async with httpx.AsyncClient(base_url=f"http://{settings.metrics_listen}", timeout=WITHIN) as client:
        assert (await client.get("/livez")).status_code == 200


async def test_a_service_that_starts_while_nats_is_away_waits_for_it(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.runtime.event_store._ATTEMPT", 0.2)
    started, stop = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        async with service_process("auth", settings) as process:
            assert AUTH in [info.config.name for info in await process.nats.jetstream().streams_info()]
            started.set()
            await stop.wait()

    with caplog.at_level(logging.WARNING):
        running = asyncio.create_task(run())
        await waits(settings, caplog)
    async with httpx.AsyncClient(timeout=WITHIN) as client:
        assert (await client.get(f"http://{settings.metrics_listen}/readyz")).status_code == 503
    async with nats_at(settings, tmp_path):
        async with asyncio.timeout(WITHIN):
            await started.wait()
        stop.set()
        await running


async def test_a_service_that_waits_for_nats_can_be_stopped(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.runtime.event_store._ATTEMPT", 0.2)

    async def terminate() -> None:
        await waits(settings, caplog)
        os.kill(os.getpid(), signal.SIGTERM)

    with caplog.at_level(logging.WARNING):
        stopping = asyncio.create_task(terminate())
        with pytest.raises(SystemExit) as ended:
            async with asyncio.timeout(WITHIN), service_process("auth", settings):
                pass
    await stopping
    assert ended.value.code == 0
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(sign)


async def test_a_gateway_that_starts_while_nats_is_away_listens_once_it_is_there(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.runtime.event_store._ATTEMPT", 0.2)
    stop = asyncio.Event()
    with caplog.at_level(logging.WARNING):
        running = asyncio.create_task(gateway_main.run(settings, stop))
        await waits(settings, caplog)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(settings.host, settings.port)
    async with nats_at(settings, tmp_path), httpx.AsyncClient(timeout=WITHIN) as client:
        async with asyncio.timeout(WITHIN):
            while not (missing := await missing_parts(client, settings)):
                await asyncio.sleep(0.1)
        # Ready itself, it listens although the services are not there.
        assert set(missing) == {"auth", "session", "profile", "contact", "messaging"}
        stop.set()
        await running


async def missing_parts(client: httpx.AsyncClient, settings: Settings) -> list[str]:
    """The parts that the gateway reports as not ready; empty if it does not listen."""
    try:
        answer = await client.get(f"http://{settings.host}:{settings.port}/readyz")
    except httpx.ConnectError:
        return []
    parts: list[str] = answer.json()["missing"]
    return parts


async def test_waiting_ends_when_the_process_is_stopped(settings: Settings) -> None:
    stop = asyncio.Event()
    opening = asyncio.create_task(open_event_store(settings, "gateway", stop))
    stop.set()
    with pytest.raises(StopRequested):
        async with asyncio.timeout(WITHIN):
            await opening
