"""How long it takes to load an aggregate of ten events that is not in memory, out of a large stream."""

import argparse
import random
import time

from contracts.events.event import Event
from contracts.subjects import conversation
from streams.log import Log
from streams.repository import Repository
from tests.bench import servers
from tests.bench.events import EVENTS_A_CONVERSATION, seed
from tests.bench.report import Row, main, percentile


async def measure(arguments: argparse.Namespace) -> list[Row]:
    async with servers.nats(sync_always=True) as (client, _):
        log = Log(client)
        conversations = await seed(log, arguments.events)
        repository = Repository(log, subject=conversation, initial=0, evolve=_count)
        taken = []
        for one in random.Random(7).sample(conversations, arguments.loads):
            begin = time.perf_counter()
            loaded = await repository.load(one)
            taken.append((time.perf_counter() - begin) * 1_000)
            assert loaded.version == loaded.state == EVENTS_A_CONVERSATION
    taken.sort()
    return [
        Row(f"ten events out of {arguments.events:,}, p50", percentile(taken, 0.5), "ms", "under 2"),
        Row(f"ten events out of {arguments.events:,}, p99", percentile(taken, 0.99), "ms"),
    ]


def _count(state: int, event: Event, at: object) -> int:
    return state + 1


if __name__ == "__main__":
    main(measure, events=1_000_000, loads=1_000)
