"""Chaos test of the engine: two replicas apply a continuous load while every process is killed at random.

The replicas, PostgreSQL and NATS get SIGKILL at random times and are restarted. Afterwards every acknowledged event
must be in the read models once and in order, and a verification must find them equal to their streams.
"""

import asyncio
import random
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import msgspec
from nats.aio.client import Client as NATS

from contracts import subjects
from contracts.envelope import Provenance, seal
from contracts.errors import VestnikError
from contracts.events.message import MessageSeen
from contracts.positions import Position
from contracts.values.ids import new_id, pair_id
from infra.embedded.nats_server import NatsServer
from infra.embedded.postgres_server import PostgresServer
from infra.runtime.connections import open_pool
from projections.conversations import Conversations
from projections.engine import PositionWaiter, ReadModel
from projections.engine.inspection.verify import Verdict, verify
from projections.registry import choose
from streams.jetstream.api import Refused
from streams.jetstream.client import Client
from streams.jetstream.requests import RequestFailed
from streams.log import Append, Log
from streams.topology import ensure_streams
from tests.bench.events import message, texts

# One projection with a row per event, and one that counts events.
NAMES = ("conversations", "analytics")
_WRITERS = 8
_PAGE = 20
# Least and most seconds between two kills.
_PAUSES = (0.1, 1.5)
_CATCH_UP_SECONDS = 120.0


class Outcome(msgspec.Struct, frozen=True):
    kills: dict[str, int]
    # Messages whose append was acknowledged, and how many of them are in the read model.
    acknowledged: int
    found: int
    verdicts: list[Verdict]
    # Seconds that the read models took to catch up after the last kill.
    caught_up: float


class _Row(msgspec.Struct):
    message_id: str


class _Replica:
    def __init__(self, nats_url: str, database_url: str, log: Path) -> None:
        self._arguments = ("-m", "tests.projection_worker", nats_url, database_url, *NAMES)
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *self._arguments, stdout=log, stderr=log
            )

    async def kill(self) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


class _Writer:
    """Writes to one conversation until an append fails or its outcome is unknown, then starts another."""

    def __init__(self, nc: NATS) -> None:
        self._log = Log(nc)
        self.acknowledged: list[str] = []

    async def run(self) -> None:
        while True:
            with suppress(RequestFailed, Refused, VestnikError, OSError, TimeoutError):
                await self._talk()

    async def _talk(self) -> None:
        one, other = new_id(), new_id()
        conversation = pair_id(one, other)
        last, version, lines = 0, 0, texts()
        while True:
            messages = [message(version + index, lines[version + index], one, other) for index in range(1, _PAGE + 1)]
            appends = [
                Append(
                    subject=subjects.conversation(conversation),
                    expected=last,
                    envelope=seal(
                        event, aggregate_id=conversation, version=version + index, provenance=Provenance(actor=one)
                    ),
                )
                for index, event in enumerate(messages, start=1)
            ]
            last = (await self._log.append_together(appends))[-1]
            version += _PAGE
            self.acknowledged += [event.message_id for event in messages]
            mark = MessageSeen(conversation_id=conversation, reader_id=other, peer_id=one, sequence=version)
            reader = f"{conversation}.{other}.{version}"
            envelope = seal(mark, aggregate_id=reader, version=1, provenance=Provenance(actor=other))
            await self._log.append(
                Append(subject=subjects.read_mark(conversation, f"{other}-{version}"), expected=0, envelope=envelope)
            )


async def run_chaos(folder: Path, seconds: float, chance: random.Random) -> Outcome:
    """Runs for `seconds`, then waits for the read models to catch up and verifies them."""
    folder.chmod(0o755)
    nats, postgres = NatsServer(folder / "nats", sync_always=True), PostgresServer(folder / "postgres")
    await nats.start()
    await postgres.start()
    nc = Client()
    await nc.connect(nats.url, max_reconnect_attempts=-1, reconnect_time_wait=1)
    await ensure_streams(nc, replicas=1)
    replicas = [_Replica(nats.url, postgres.url, folder / f"replica{number}.log") for number in (1, 2)]
    writer = _Writer(nc)
    kills: Counter[str] = Counter()
    try:
        for replica in replicas:
            await replica.start()
        writers = [asyncio.create_task(writer.run()) for _ in range(_WRITERS)]
        try:
            await _harass(replicas, nats, postgres, seconds, chance, kills)
            # A slow machine may have spent all of the time on restarts.
            async with asyncio.timeout(_CATCH_UP_SECONDS):
                while not writer.acknowledged:
                    await asyncio.sleep(0.05)
        finally:
            for task in writers:
                task.cancel()
            await asyncio.gather(*writers, return_exceptions=True)
        return await _judge(nc, postgres.url, writer.acknowledged, kills)
    finally:
        for replica in replicas:
            await replica.kill()
        await nc.close()
        await nats.stop()
        await postgres.stop()


async def _harass(
    replicas: list[_Replica],
    nats: NatsServer,
    postgres: PostgresServer,
    seconds: float,
    chance: random.Random,
    kills: Counter[str],
) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        await asyncio.sleep(chance.uniform(*_PAUSES))
        victim = chance.choices(("replica", "postgres", "nats"), (6, 2, 1))[0]
        kills[victim] += 1
        if victim == "replica":
            replica = chance.choice(replicas)
            await replica.kill()
            await replica.start()
        else:
            server = postgres if victim == "postgres" else nats
            server.kill()
            await server.wait()
            await server.start()


async def _judge(nc: NATS, database_url: str, acknowledged: list[str], kills: Counter[str]) -> Outcome:
    loop = asyncio.get_running_loop()
    started = loop.time()
    projections = choose(NAMES)
    pool = await open_pool(database_url, "chaos")
    waiting = PositionWaiter(projections, nc, pool)
    await waiting.start()
    try:
        end = (await nc.jetstream().stream_info(subjects.MESSAGING)).state.last_seq
        for projection in projections:
            await waiting.wait(projection, Position.at(subjects.MESSAGING, end), _CATCH_UP_SECONDS)
        caught_up = loop.time() - started
        model = ReadModel(Conversations, pool, waiting)
        rows, _ = await model.select(_Row, "SELECT message_id FROM {messages}")
        readable = len(set(acknowledged) & {row.message_id for row in rows})
        verdicts = [await verify(projection, nc, database_url) for projection in projections]
    finally:
        await waiting.stop()
        await pool.close()
    return Outcome(dict(kills), len(acknowledged), readable, verdicts, caught_up)
