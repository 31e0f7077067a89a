"""When a service's process ends by itself, so that its supervisor restarts it."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from nats.aio.client import Client as NATS

from contracts.errors import Unavailable
from contracts.services import OPERATOR
from contracts.subjects import DRAFTS
from infra.embedded.ports import free_port
from infra.runtime.connections import Pool
from infra.runtime.service_process import ServiceProcess, service_process
from infra.security.secrets import TOPOLOGY, Secrets
from infra.settings import Settings
from streams.jetstream.key_value import KeyValue
from streams.topology import ensure_bucket
from tests.integration.infra.nats_parties import parties


@pytest_asyncio.fixture
async def process(nats: NATS, pool: Pool, tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    settings = Settings(addresses={"auth": f"127.0.0.1:{free_port()}"}, listen=f"127.0.0.1:{free_port()}")
    process = ServiceProcess("auth", settings, Secrets.create(tmp_path / "secrets"), nats, pool)
    try:
        yield process
    finally:
        for sign in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(sign)


async def test_a_connection_to_nats_that_was_closed_for_good_ends_the_process(
    process: ServiceProcess, nats: NATS
) -> None:
    await nats.close()
    with pytest.raises(SystemExit) as ended:
        async with asyncio.timeout(60):
            await process.serve([])
    assert ended.value.code == 1


async def test_a_background_task_that_fails_ends_the_process(process: ServiceProcess) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    process.spawn(fail(), "a task")
    with pytest.raises(SystemExit) as ended:
        async with asyncio.timeout(60):
            await process.serve([])
    assert ended.value.code == 1


async def test_a_background_task_that_ends_since_another_was_cancelled_ends_the_process(
    process: ServiceProcess,
) -> None:
    other: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    other.cancel()

    async def share() -> None:
        await other

    process.spawn(share(), "a task")
    with pytest.raises(SystemExit) as ended:
        async with asyncio.timeout(60):
            await process.serve([])
    assert ended.value.code == 1


async def test_a_process_that_cannot_tell_whether_it_is_ready_ends(process: ServiceProcess) -> None:
    def fail() -> bool:
        raise ZeroDivisionError

    process.ready_when(fail)
    with pytest.raises(SystemExit) as ended:
        async with asyncio.timeout(60):
            await process.serve([])
    assert ended.value.code == 1


async def test_a_background_task_that_loses_a_cancellation_does_not_keep_the_process_from_ending(
    process: ServiceProcess,
) -> None:
    waiting = asyncio.Event()

    async def lose_one() -> None:
        with suppress(asyncio.CancelledError):
            waiting.set()
            await asyncio.sleep(3_600)
        await asyncio.sleep(3_600)

    process.spawn(lose_one(), "a task")
    await waiting.wait()
    async with asyncio.timeout(60):
        await process.close()


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "beside another replica"])
async def test_a_replica_beside_others_accepts_calls_once_it_is_ready_and_one_alone_at_once(
    nats: NATS, pool: Pool, tmp_path: Path, alone: bool
) -> None:
    own, other = (f"127.0.0.1:{free_port()}" for _ in range(2))
    settings = Settings(addresses={"auth": own if alone else f"{own},{other}"}, listen=own)
    process = ServiceProcess("auth", settings, Secrets.create(tmp_path / "secrets"), nats, pool)
    asked, ready = asyncio.Event(), False

    def is_ready() -> bool:
        asked.set()
        return ready

    process.ready_when(is_ready)
    host, port = settings.listen_address("auth")
    serving, accepting = asyncio.create_task(process.serve([])), asyncio.create_task(process.accepts_calls())
    async with asyncio.timeout(60):
        await asked.wait()
        if alone:
            assert await accepting
        for _ in range(0 if alone else 3):
            asked.clear()
            await asked.wait()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(host, port)
        ready = True
        assert await accepting
        _, writer = await asyncio.open_connection(host, port)
        writer.close()
        signal.raise_signal(signal.SIGTERM)
        await serving
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(sign)


async def test_the_operator_s_process_starts_with_the_rights_that_it_has(tmp_path: Path, database_url: str) -> None:
    async with parties(tmp_path) as nats_parties:
        settings = Settings(
            nats_url=nats_parties.server.url_of(OPERATOR),
            database_url=database_url,
            listen=f"127.0.0.1:{free_port()}",
            secrets_dir=str(tmp_path / "secrets"),
        )
        async with service_process("operator", settings) as process:
            assert process.nats.is_connected


async def test_a_service_starts_without_the_bucket_that_it_uses(tmp_path: Path, database_url: str) -> None:
    async with parties(tmp_path) as nats_parties:
        settings = Settings(
            nats_url=nats_parties.server.url_of("messaging"),
            database_url=database_url,
            listen=f"127.0.0.1:{free_port()}",
            secrets_dir=str(tmp_path / "secrets"),
        )
        async with service_process("messaging", settings) as process:
            drafts = KeyValue(process.nats, DRAFTS, patience=60.0)
            with pytest.raises(Unavailable):
                await drafts.put("a", b"1")
            await ensure_bucket((await nats_parties.party(TOPOLOGY)).nats, DRAFTS, replicas=1)
            await drafts.put("a", b"1")
            assert await drafts.get_many(["a"]) == {"a": b"1"}
