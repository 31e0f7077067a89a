"""Measures the time from an event to its row, read as a service reads it, at a given rate of writes.

The writer and reader is one process, the applier another, as in a system. Events come at a fixed pace, whether those
before have been seen or not.
"""

import argparse
import asyncio
import time

import msgspec

from contracts import subjects
from contracts.envelope import seal
from contracts.positions import Position
from contracts.values.ids import new_id, pair_id
from infra.runtime.connections import open_pool
from projections.conversations import Conversations
from projections.engine import PositionWaiter, ReadModel
from streams.jetstream.client import Client
from streams.log import Append, Log
from tests.bench import servers
from tests.bench.events import message, provenance, texts
from tests.bench.projection_worker import applying
from tests.bench.report import Row, main, percentile

_TALKS = 200
_ROW = "SELECT sequence FROM {messages} WHERE (conversation_id, sequence) = (%(conversation)s, %(sequence)s)"


class _Sequence(msgspec.Struct):
    sequence: int


class _Talk:
    """A conversation whose events are appended one after the other."""

    def __init__(self) -> None:
        self.sender, self.recipient = new_id(), new_id()
        self.conversation = pair_id(self.sender, self.recipient)
        self.version = 0
        self.last = 0
        self.turn = asyncio.Lock()


async def measure(arguments: argparse.Namespace) -> list[Row]:
    async with (
        servers.nats(sync_always=True) as (client, nats_url),
        servers.postgres() as database_url,
        applying([Conversations], nats_url, database_url),
    ):
        pool = await open_pool(database_url, "bench")
        waiting = PositionWaiter([Conversations], client, pool)
        await waiting.start()
        try:
            model = ReadModel(Conversations, pool, waiting)
            await _paced(client, model, arguments.rate, arguments.rate)
            seen = await _paced(client, model, arguments.events, arguments.rate)
        finally:
            await waiting.stop()
            await pool.close()
    from_append, from_stored = sorted(one for one, _ in seen), sorted(other for _, other in seen)
    return [
        Row(f"{arguments.rate}/s, append to row read, p50", percentile(from_append, 0.5), "ms", "under 10"),
        Row(f"{arguments.rate}/s, append to row read, p99", percentile(from_append, 0.99), "ms", "under 50"),
        Row(f"{arguments.rate}/s, stored to row read, p50", percentile(from_stored, 0.5), "ms"),
        Row(f"{arguments.rate}/s, stored to row read, p99", percentile(from_stored, 0.99), "ms"),
        Row("rows seen", len(seen), "rows", "all"),
    ]


async def _paced(client: Client, model: ReadModel, events: int, rate: int) -> list[tuple[float, float]]:
    """Milliseconds from the append, and from its acknowledgement, to the row, of each event."""
    log, talks, lines = Log(client), [_Talk() for _ in range(_TALKS)], texts()
    begin = time.perf_counter()
    tasks = []
    for number in range(events):
        await asyncio.sleep(max(0.0, begin + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(_say(log, model, talks[number % _TALKS], lines[number % len(lines)])))
    return await asyncio.gather(*tasks)


async def _say(log: Log, model: ReadModel, talk: _Talk, text: str) -> tuple[float, float]:
    begun = time.perf_counter()
    async with talk.turn:
        talk.version += 1
        version = talk.version
        said = message(version, text, talk.sender, talk.recipient)
        envelope = seal(said, aggregate_id=talk.conversation, version=version, provenance=provenance(talk.sender))
        subject = subjects.conversation(talk.conversation)
        sequence = talk.last = await log.append(Append(subject=subject, expected=talk.last, envelope=envelope))
    stored = time.perf_counter()
    await model.wait_for(Position.at(subjects.MESSAGING, sequence), 30)
    rows, _ = await model.select(_Sequence, _ROW, {"conversation": talk.conversation, "sequence": version})
    now = time.perf_counter()
    assert len(rows) == 1, "the position was reached without the row"
    return (now - begun) * 1_000, (now - stored) * 1_000


if __name__ == "__main__":
    main(measure, events=10_000, rate=500)
