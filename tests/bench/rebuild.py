"""How fast read models are rebuilt from their streams into PostgreSQL; the library's `ProjectionRunner` beside it.

One process of ours; `synchronous_commit` is on; the time is that of the whole call, with indexes and switch.
"""

import argparse
import asyncio
from itertools import islice

from projections.conversations import Conversations
from projections.engine.projection import Projection
from projections.engine.rebuild.rebuild import rebuild
from projections.registry import catalogue
from streams.jetstream.client import Client
from tests.bench import baseline_projection, history, servers
from tests.bench.report import Row, main


async def measure(arguments: argparse.Namespace) -> list[Row]:
    people = history.people()
    async with servers.nats(sync_always=False) as (client, _):
        await history.write(client, islice(history.talk(people), arguments.events))
        async with servers.postgres() as url:
            # Messages and marks alone, as the library has them: the other streams are still empty.
            ours = [await _rate(Conversations, client, url) for _ in range(arguments.rounds)]
            await _seed_others(client, people, arguments.others)
            rates = {name: await _rate(projection, client, url) for name, projection in catalogue().items()}
            # The history has no events of some read models.
            rates = {name: rate for name, rate in rates.items() if rate}
    async with servers.postgres() as url:
        events = list(islice(history.talk(people), arguments.baseline_events))
        library = await asyncio.to_thread(baseline_projection.rate, url, events)
    best = max(ours)
    slowest = min(rates, key=rates.__getitem__)
    return [
        Row(f"conversations, {arguments.events:,} messages and marks, best", best, "events/s", "at least 40,000"),
        Row("conversations, slowest", min(ours), "events/s"),
        Row(f"the library's ProjectionRunner, {arguments.baseline_events:,} of them", library, "events/s"),
        Row("conversations, slowest, against the library", min(ours) / library, "times", "at least 25"),
        *(Row(f"all: {name}", rate, "events/s") for name, rate in rates.items()),
        Row(f"the slowest: {slowest}", rates[slowest], "events/s", "at least 20,000"),
    ]


async def _seed_others(client: Client, people: dict[int, str], others: int) -> None:
    await history.write(client, history.friendships(people))
    for kind in (history.strangers(), history.registrations(), history.profiles(), history.sessions()):
        await history.write(client, islice(kind, others))


async def _rate(projection: type[Projection], client: Client, url: str) -> float:
    rebuilt = await rebuild(projection, client, url)
    return rebuilt.events / rebuilt.seconds


if __name__ == "__main__":
    main(measure, events=1_000_000, others=200_000, rounds=2, baseline_events=20_000)
