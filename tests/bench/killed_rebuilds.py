"""Rebuilds under fire: the command, PostgreSQL and NATS are killed at random moments while a service writes and reads.

The same command is started again and again. At the end it is let through, and the read model must be what the streams
say, row for row.
"""

import argparse
import asyncio
import logging
import os
import random
import signal
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import psycopg

from contracts.subjects import MESSAGING
from infra.embedded.nats_server import NatsServer
from infra.embedded.postgres_server import PostgresServer
from infra.runtime.connections import open_pool
from projections.conversations import Conversations
from projections.engine import Runners
from projections.engine.inspection.verify import verify
from streams.jetstream.client import Client
from streams.topology import ensure_streams
from tests.bench import history
from tests.bench.report import Row, main

_LONGEST_PEACE = 2.5
_PATIENCE = 120.0
_ENDED_WELL = 0


async def measure(arguments: argparse.Namespace) -> list[Row]:
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        data_dir.chmod(0o755)
        nats, postgres = NatsServer(data_dir / "nats", sync_always=False), PostgresServer(data_dir / "postgres")
        await asyncio.gather(nats.start(), postgres.start())
        client = Client()
        await client.connect(
            nats.url,
            error_cb=_expected,
            reconnect_time_wait=0.05,  # type: ignore[arg-type]  # seconds that it sleeps; a fraction is meant
            max_reconnect_attempts=-1,
        )
        try:
            await ensure_streams(client, replicas=1)
            people = history.people()
            await history.write(client, history.friendships(people))
            await history.write(client, islice(history.talk(people), arguments.events))
            return await _under_fire(nats, postgres, client, data_dir, arguments)
        finally:
            await client.close()
            await asyncio.gather(nats.stop(), postgres.stop())


async def _under_fire(
    nats: NatsServer, postgres: PostgresServer, client: Client, data_dir: Path, arguments: argparse.Namespace
) -> list[Row]:
    pool = await open_pool(postgres.url, "bench")
    runners = Runners([Conversations], client, pool, postgres.url)
    await runners.start()
    environment = {
        **os.environ,
        "VESTNIK_NATS_URL": nats.url,
        "VESTNIK_DATABASE_URL": postgres.url,
        "VESTNIK_DATA_DIR": str(data_dir),
    }
    rebuilt, killed = 0, dict.fromkeys(("the command", "PostgreSQL", "NATS"), 0)
    try:
        async with asyncio.timeout(_PATIENCE):
            while not runners.ready():
                await asyncio.sleep(0.1)
        chance = random.Random(arguments.seed)
        deadline = time.monotonic() + arguments.seconds
        command = await _command(environment)
        while time.monotonic() < deadline:
            await asyncio.sleep(chance.uniform(0.05, _LONGEST_PEACE))
            victim = chance.choice(list(killed))
            killed[victim] += 1
            if victim == "PostgreSQL":
                postgres.kill()
                await postgres.start()
            elif victim == "NATS":
                nats.kill()
                await nats.start()
            elif command.returncode is None:
                command.send_signal(chance.choice((signal.SIGKILL, signal.SIGINT)))
                await command.wait()
            if command.returncode is not None:
                rebuilt += command.returncode == _ENDED_WELL
                command = await _command(environment)
        for _ in range(2):
            rebuilt += await asyncio.wait_for(command.wait(), _PATIENCE) == _ENDED_WELL
            command = await _command(environment)
        assert await asyncio.wait_for(command.wait(), _PATIENCE) == _ENDED_WELL, "the last rebuild failed"
        verdict = await verify(Conversations, client, postgres.url)
        assert verdict.equal, verdict.differences
    finally:
        await runners.stop()
        await pool.close()
    return [
        *(Row(f"{victim} killed", times, "times") for victim, times in killed.items()),
        Row("rebuilds that went through", rebuilt + 1, ""),
        Row("builds left", await _builds(postgres.url), "", "2: the live one, and the one before"),
        Row("rows compared, all equal", verdict.rows, "rows", "equal"),
        Row("events of MESSAGING", verdict.position[MESSAGING], "events"),
    ]


async def _expected(error: Exception) -> None:
    """A server that is killed is not there for a moment."""


async def _command(environment: Mapping[str, str]) -> Process:
    arguments = ("-m", "infra.cli.main", "rebuild", "conversations")
    return await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=environment, stdout=DEVNULL, stderr=DEVNULL
    )


async def _builds(database_url: str) -> int:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn:
        row = await (await conn.execute("SELECT count(*) FROM projection_builds")).fetchone()
    assert row is not None
    return int(row[0])


if __name__ == "__main__":
    main(measure, events=100_000, seconds=60, seed=1)
