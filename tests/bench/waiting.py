"""Measures the time from an append's acknowledgement until the read model is known to contain the event.

Three who wait for the same writes: the process that applies them, another process, which is notified by a notice, and
as a baseline another process that asks the database every 10 ms.
"""

import argparse
import asyncio
import multiprocessing
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection as Pipe

import uvloop

from contracts import subjects
from contracts.envelope import Provenance, seal
from contracts.events.message import MessageSent
from contracts.positions import Position
from contracts.values.ids import new_id, pair_id
from infra.runtime.connections import Pool, open_pool
from projections.conversations import Conversations
from projections.engine import PositionWaiter, Runners
from streams.jetstream.client import Client
from streams.log import Append, Log
from tests.bench import servers
from tests.bench.report import Row, main, percentile

POLL_SECONDS = 0.01
_SPAWN = multiprocessing.get_context("spawn")
_CHECKPOINT = """
SELECT c.sequence FROM projection_builds AS b JOIN projection_checkpoints AS c USING (projection, version, build)
WHERE b.projection = %s AND b.version = %s AND b.state = 'live' AND c.stream = %s
"""

Wait = Callable[[Position], Awaitable[None]]


async def measure(arguments: argparse.Namespace) -> list[Row]:
    async with servers.nats(sync_always=True) as (_, nats_url), servers.postgres() as database_url:
        ours, theirs = _SPAWN.Pipe()
        applying = _SPAWN.Process(target=_apply, args=(nats_url, database_url, arguments.writes, theirs))
        applying.start()
        nc = Client()
        await nc.connect(nats_url)
        pool = await open_pool(database_url, "bench")
        waiting = PositionWaiter([Conversations], nc, pool)
        await waiting.start()
        try:
            return await _measured(nc, pool, waiting, ours, arguments.writes)
        finally:
            ours.send(None)
            await asyncio.to_thread(applying.join, 30)
            await waiting.stop()
            await pool.close()
            await nc.close()


async def _measured(nc: Client, pool: Pool, waiting: PositionWaiter, ours: Pipe, writes: int) -> list[Row]:
    async def notified(position: Position) -> None:
        await waiting.wait(Conversations, position, 30)

    async def asking(position: Position) -> None:
        await _ask(pool, position)

    writer = _Writer(Log(nc))
    await notified(await writer.write())
    rows = []
    for what, wait, target in (
        ("another process, notified by a notice", notified, "p50 under 5"),
        ("another process, asking every 10 ms (baseline)", asking, ""),
    ):
        rows += _rows(what, await _times(writer, wait, writes), target)
    ours.send("go")
    return rows + _rows("the process that applies", await asyncio.to_thread(ours.recv), "p50 under 5")


def _apply(nats_url: str, database_url: str, writes: int, theirs: Pipe) -> None:
    """The other process: applies, and in its turn waits for writes of its own."""

    async def run() -> None:
        nc = Client()
        await nc.connect(nats_url)
        pool = await open_pool(database_url, "bench, applying")
        runners = Runners([Conversations], nc, pool, database_url)
        await runners.start()

        async def wait(position: Position) -> None:
            await runners.waiting.wait(Conversations, position, 30)

        try:
            while await asyncio.to_thread(theirs.recv) is not None:
                theirs.send(await _times(_Writer(Log(nc)), wait, writes))
        finally:
            await runners.stop()
            await pool.close()
            await nc.close()

    uvloop.run(run())


class _Writer:
    """Writes one message after another to a conversation."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._sender, self._recipient = new_id(), new_id()
        self._conversation = pair_id(self._sender, self._recipient)
        self._last, self._version = 0, 0

    async def write(self) -> Position:
        self._version += 1
        message = MessageSent(
            message_id=new_id(),
            sender_id=self._sender,
            recipient_id=self._recipient,
            sequence=self._version,
            text="Are you there?",
            client_message_id=str(self._version),
        )
        envelope = seal(
            message, aggregate_id=self._conversation, version=self._version, provenance=Provenance(actor=self._sender)
        )
        subject = subjects.conversation(self._conversation)
        self._last = await self._log.append(Append(subject=subject, expected=self._last, envelope=envelope))
        return Position.at(subjects.MESSAGING, self._last)


async def _times(writer: _Writer, wait: Wait, writes: int) -> list[float]:
    """Milliseconds from each acknowledgement to the end of the waiting, sorted."""
    taken = []
    for _ in range(writes):
        position = await writer.write()
        begun = time.perf_counter()
        await wait(position)
        taken.append((time.perf_counter() - begun) * 1_000)
    return sorted(taken)


async def _ask(pool: Pool, position: Position) -> None:
    asked = (Conversations.name, Conversations.version, subjects.MESSAGING)
    while True:
        async with pool.connection() as conn:
            row = await (await conn.execute(_CHECKPOINT, asked)).fetchone()
        if row is not None and int(str(row[0])) >= position.sequence(subjects.MESSAGING):
            return
        await asyncio.sleep(POLL_SECONDS)


def _rows(what: str, taken: list[float], target: str) -> list[Row]:
    return [
        Row(f"{what}, p50", percentile(taken, 0.5), "ms", target),
        Row(f"{what}, p99", percentile(taken, 0.99), "ms"),
    ]


if __name__ == "__main__":
    main(measure, writes=2_000)
