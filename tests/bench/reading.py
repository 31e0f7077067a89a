"""How fast one process reads a stream into decoded events, its gaps checked; the library on PostgreSQL beside it."""

import argparse
import asyncio
import time

from contracts.subjects import MESSAGING
from streams.jetstream.client import Client
from streams.log import Log
from streams.reader import Reader
from tests.bench import baseline, servers
from tests.bench.events import seed
from tests.bench.report import Row, main


async def measure(arguments: argparse.Namespace) -> list[Row]:
    async with servers.nats(sync_always=False) as (client, _):
        await seed(Log(client), arguments.events)
        raw = max([await _read(client, arguments.events, decode=False) for _ in range(arguments.rounds)])
        rates = [await _read(client, arguments.events, decode=True) for _ in range(arguments.rounds)]
    async with servers.postgres() as url:
        library = await asyncio.to_thread(_library, url, arguments.baseline_events)
    best = max(rates)
    return [
        Row("undecoded, best", raw, "events/s"),
        Row("decoded, best", best, "events/s", "at least 100,000"),
        Row("decoded, slowest", min(rates), "events/s"),
        Row("the library on PostgreSQL, decoded", library, "events/s"),
        Row("decoded against the library", best / library, "times", "ahead"),
    ]


async def _read(client: Client, count: int, *, decode: bool) -> float:
    begin = time.perf_counter()
    position = 0
    async with Reader(client, MESSAGING, name="bench") as reader:
        async for batch in reader.batches():
            for message in batch.messages:
                assert message.sequence == position + 1, "a gap"
                position = message.sequence
                if decode:
                    message.open()
            if position >= count:
                break
    return count / (time.perf_counter() - begin)


def _library(url: str, count: int) -> float:
    with baseline.application(url) as app:
        baseline.seed(app, count)
        return baseline.read(app, count)


if __name__ == "__main__":
    main(measure, events=1_000_000, rounds=3, baseline_events=200_000)
