"""How many commands a second one process takes: load, decide, append on a condition; the library beside it."""

import argparse
import asyncio
import time
from collections.abc import Sequence
from datetime import datetime

from contracts.events.event import Event
from contracts.events.message import MessageSent
from contracts.subjects import conversation
from contracts.values.ids import new_id
from streams.jetstream.client import Client
from streams.log import Log
from streams.repository import Repository
from tests.bench import baseline, servers
from tests.bench.events import message, provenance, texts
from tests.bench.report import Row, main, percentile

_AGGREGATES = 500
_IN_FLIGHT = 64


async def measure(arguments: argparse.Namespace) -> list[Row]:
    async with servers.nats(sync_always=False) as (client, _):
        default = [await _many(client, arguments.commands, group_commit=False) for _ in range(arguments.rounds)]
    async with servers.nats(sync_always=True) as (client, _):
        always = [await _many(client, arguments.commands) for _ in range(arguments.rounds)]
        singly = [await _many(client, arguments.commands // 4, group_commit=False) for _ in range(arguments.rounds)]
        taken = await _one_by_one(client, arguments.single)
    async with servers.postgres() as url:
        library = {
            threads: await asyncio.to_thread(_library, url, arguments.baseline_commands, threads)
            for threads in (1, 4, 16)
        }
    threads, best = max(library.items(), key=lambda item: item[1])
    return [
        Row("default sync, 64 in flight, best", max(default), "commands/s", "at least 15,000"),
        Row("default sync, 64 in flight, slowest", min(default), "commands/s"),
        Row("always, 64 in flight, best", max(always), "commands/s", "at least 4,000"),
        Row("always, 64 in flight, slowest", min(always), "commands/s"),
        Row("always, 64 in flight, each append by itself, best", max(singly), "commands/s"),
        Row("always, one at a time, p50", percentile(taken, 0.5), "ms", "under 1"),
        Row("always, one at a time, p99", percentile(taken, 0.99), "ms"),
        Row("the library on PostgreSQL, one thread", library[1], "commands/s"),
        Row(f"the library on PostgreSQL, best ({threads} threads)", best, "commands/s"),
        Row("always, best, against the library's best", max(always) / best, "times", "at least 6"),
    ]


class Talk:
    """A conversation of which only the number of its last message matters."""

    def __init__(self, client: Client, *, group_commit: bool = True) -> None:
        log = Log(client, group_commit=group_commit)
        self.repository = Repository(log, subject=conversation, initial=0, evolve=self._evolve)
        self._sender, self._recipient = new_id(), new_id()

    async def send(self, aggregate: str, text: str) -> None:
        def decide(last: int) -> Sequence[Event]:
            return [message(last + 1, text, self._sender, self._recipient)]

        await self.repository.execute(aggregate, decide, provenance(self._sender))

    @staticmethod
    def _evolve(state: int, event: Event, at: datetime) -> int:
        assert isinstance(event, MessageSent)
        return event.sequence


async def _many(client: Client, count: int, *, group_commit: bool = True) -> float:
    talk, lines = Talk(client, group_commit=group_commit), texts()
    aggregates = [new_id() for _ in range(_AGGREGATES)]
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await talk.send(aggregates[number % _AGGREGATES], lines[number % len(lines)])

    begin = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(_IN_FLIGHT)))
    return count / (time.perf_counter() - begin)


async def _one_by_one(client: Client, count: int) -> list[float]:
    talk, lines = Talk(client), texts()
    aggregates = [new_id() for _ in range(_AGGREGATES)]
    taken = []
    # Each aggregate's first command loads it.
    for number in range(count + _AGGREGATES):
        begin = time.perf_counter()
        await talk.send(aggregates[number % _AGGREGATES], lines[number % len(lines)])
        taken.append((time.perf_counter() - begin) * 1_000)
    return sorted(taken[_AGGREGATES:])


def _library(url: str, count: int, threads: int) -> float:
    with baseline.application(url) as app:
        return baseline.commands(app, count, threads)


if __name__ == "__main__":
    main(measure, commands=60_000, rounds=3, single=3_000, baseline_commands=4_000)
