"""A raised version is deployed beside the old one, taken back, and deployed again; real processes, real readers."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import msgspec
import pytest_asyncio
from nats.aio.client import Client

from infra.embedded.nats_server import NatsServer
from infra.embedded.ports import free_ports
from infra.security.secrets import Secrets
from infra.supervisor.readiness_probes import grpc_health
from projections.engine.inspection.verify import verify
from projections.engine.rebuild.build_cleanup import drop_unused_builds
from projections.engine.status.status import projection_statuses
from projections.engine.storage.connections import connect
from tests.fix_postgres import Pool
from tests.integration.projections.deployed import after, before
from tests.integration.projections.deployed.replica import Answer
from tests.integration.projections.event_writer import Writer, conversation_ids

PATIENCE = 60
MANY = 3_000
BEHIND = "read_model_behind"


class Replica:
    """One process of the service."""

    def __init__(self, process: Process, port: int, health_port: int) -> None:
        self._process = process
        self._port = port
        self._health = grpc_health("127.0.0.1", health_port)

    async def ready(self) -> bool:
        assert self._process.returncode is None
        return await self._health()

    async def become_ready(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while not await self.ready():
                await asyncio.sleep(0.02)

    async def count(self, sequence: int = 0) -> Answer:
        """The replica's count as of the sequence or later."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(f"{sequence}\n".encode())
        answer = msgspec.json.decode(await asyncio.wait_for(reader.readline(), PATIENCE), type=Answer)
        writer.close()
        return answer

    async def stop(self) -> int:
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self._process.wait(), PATIENCE)


class Deploy(Protocol):
    async def __call__(self, deployed: str) -> Replica: ...


@pytest_asyncio.fixture
async def deploy(nats_server: NatsServer, streams: Client, database_url: str, tmp_path: Path) -> AsyncIterator[Deploy]:
    """Starts replicas that are stopped with the test."""
    Secrets.create(tmp_path / "secrets")
    async with AsyncExitStack() as stack:

        async def start(deployed: str) -> Replica:
            port, health_port = free_ports(2)
            inherited = {name: value for name, value in os.environ.items() if not name.startswith("VESTNIK_")}
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.integration.projections.deployed.replica",
                deployed,
                str(port),
                env={
                    **inherited,
                    "VESTNIK_NATS_URL": nats_server.url,
                    "VESTNIK_DATABASE_URL": database_url,
                    "VESTNIK_DATA_DIR": str(tmp_path),
                    "VESTNIK_SECRETS_DIR": str(tmp_path / "secrets"),
                    "VESTNIK_LISTEN": f"127.0.0.1:{health_port}",
                },
            )
            replica = Replica(process, port, health_port)
            stack.push_async_callback(replica.stop)
            return replica

        yield start


async def test_old_and_new_serve_side_by_side_and_either_can_go(
    deploy: Deploy, writer: Writer, streams: Client, pool: Pool, database_url: str
) -> None:
    conversation, *others = conversation_ids(7)
    written = len(others) * (MANY // len(others))
    last = await writer.fill(others, MANY // len(others))
    old = await deploy("before")
    await old.become_ready()
    assert await old.count(last) == Answer(written, last)

    async def write_and_read(*replicas: Replica) -> None:
        nonlocal last, written
        last, written = await writer.say(conversation, "text"), written + 1
        for replica in replicas:
            assert await replica.count(last) == Answer(written, last)

    # While the new version is filled, the old one serves and keeps up.
    begun = last
    new = await deploy("after")
    while not await new.ready():
        await write_and_read(old)
    # Ready means caught up with what there was, and not only that there are tables.
    assert (await new.count()).sequence >= begun
    for _ in range(10):
        await write_and_read(old, new)
    assert await versions(streams, database_url) == [(1, "live"), (2, "live")]
    _, in_use = await drop_unused_builds("talks", 2, database_url)
    assert [left.version for left in in_use] == [1]

    # The old replica goes, and comes back when the deploy turns out to be bad: it has to catch up first.
    assert await old.stop() == 0
    for _ in range(10):
        await write_and_read(new)
    missed = last
    old = await deploy("before")
    await old.become_ready()
    assert (await old.count()).sequence >= missed
    assert await new.stop() == 0
    for _ in range(10):
        await write_and_read(old)

    # Forward again, and nothing was lost on the way.
    new = await deploy("after")
    await new.become_ready()
    await write_and_read(old, new)
    assert (await verify(before.Talks, streams, database_url)).equal
    assert (await verify(after.Talks, streams, database_url)).equal

    # When nobody runs the old one any more its tables are still there, until they are dropped.
    assert await old.stop() == 0
    assert await relations(pool) == ["talks_v1", "talks_v1_b1", "talks_v2", "talks_v2_b1"]
    dropped, in_use = await drop_unused_builds("talks", 2, database_url)
    assert ([(one.version, one.build) for one in dropped], in_use) == ([(1, 1)], [])
    assert await relations(pool) == ["talks_v2", "talks_v2_b1"]
    await write_and_read(new)


async def versions(streams: Client, database_url: str) -> list[tuple[int, str]]:
    conn = await connect(database_url, "status")
    try:
        statuses = await projection_statuses([after.Talks], conn, streams, [])
    finally:
        await conn.close()
    return [(status.version, status.state) for status in statuses]


async def relations(pool: Pool) -> list[str]:
    async with pool.connection() as conn:
        cursor = await conn.execute(
            "SELECT relname FROM pg_class WHERE relname LIKE 'talks%' AND relkind IN ('r', 'v') ORDER BY 1"
        )
        return [str(name) for (name,) in await cursor.fetchall()]
