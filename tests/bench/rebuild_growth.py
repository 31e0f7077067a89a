"""Whether a rebuild of very many events keeps its pace, and how much memory it takes."""

import argparse
import time
from itertools import islice, pairwise

from projections.conversations import Conversations
from projections.engine.rebuild.progress import Progress
from projections.engine.rebuild.rebuild import rebuild
from streams.jetstream.client import Client
from tests.bench import history, servers
from tests.bench.reader_memory import in_fresh_process, peak
from tests.bench.report import Row, main

_TENTHS = 10


async def measure(arguments: argparse.Namespace) -> list[Row]:
    async with servers.nats(sync_always=False) as (client, nats_url):
        await history.write(client, islice(history.talk(history.people()), arguments.events), seconds_apart=0.01)
        async with servers.postgres() as url:
            rates, before, early, most = await in_fresh_process(_rebuild, nats_url, url, arguments.events)
    return [
        *(Row(f"tenth {number}", rate, "events/s") for number, rate in enumerate(rates, start=1)),
        Row("the last tenth against the first", 100 * rates[-1] / rates[0], "%", "at least 80"),
        Row("memory before", before, "MiB"),
        Row("memory, peak up to the first tenth", early, "MiB"),
        Row("memory, peak", most, "MiB", "does not grow with the number of events"),
    ]


async def _rebuild(nats_url: str, database_url: str, events: int) -> tuple[list[float], float, float, float]:
    """The rate of each tenth; the most memory before, after one tenth, and in all, in MiB."""
    client = Client()
    await client.connect(nats_url)
    before = peak()
    marks: list[tuple[int, float]] = []
    early = before

    def tell(progress: Progress) -> None:
        nonlocal early
        done = progress.events
        if done > marks[-1][0] and done >= len(marks) * events // _TENTHS:
            marks.append((done, time.perf_counter()))
            if len(marks) == 2:
                early = peak()

    marks.append((0, time.perf_counter()))
    await rebuild(Conversations, client, database_url, tell)
    await client.close()
    rates = [(end - begin) / (until - since) for (begin, since), (end, until) in pairwise(marks)]
    return rates, before, early, peak()


if __name__ == "__main__":
    main(measure, events=10_000_000)
