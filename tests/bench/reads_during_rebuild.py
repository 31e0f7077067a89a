"""What readers notice of a rebuild: pages of messages and lists of conversations, read as the service reads them.

Reads come at a fixed pace. Before, during and after `vestnik rebuild` of the very read model that they read; the live
one goes on being kept up to date meanwhile.
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import msgspec

from contracts.positions import Position
from contracts.subjects import MESSAGING
from infra.cli.projections.rebuild_run import Rebuilds
from infra.runtime.connections import open_pool
from projections.conversations import Conversations
from projections.engine import PositionWaiter, ReadModel
from services.messaging.pages.newest_page_cache import NewestPages
from services.messaging.pages.page_reader import PageReader
from services.messaging.pages.queries import ListRequest, PageQueries, PageRequest
from tests.bench import history, servers
from tests.bench.projection_worker import applying
from tests.bench.report import Row, main, percentile

_WARM_UP_SECONDS = 2


async def measure(arguments: argparse.Namespace) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        return await _measure(arguments, Path(folder))


async def _measure(arguments: argparse.Namespace, folder: Path) -> list[Row]:
    people = history.people()
    async with (
        servers.nats(sync_always=False) as (client, nats_url),
        servers.postgres() as url,
    ):
        await history.write(client, history.friendships(people))
        await history.write(client, islice(history.talk(people), arguments.events))
        async with applying([Conversations], nats_url, url):
            pool = await open_pool(url, "bench")
            waiting = PositionWaiter([Conversations], client, pool)
            await waiting.start()
            try:
                readers = _Readers(ReadModel(Conversations, pool, waiting), people)
                end = Position.at(MESSAGING, await history.stored(client, MESSAGING))
                await waiting.wait(Conversations, end, 600)
                await readers.read(arguments.rate, _lasting(_WARM_UP_SECONDS))
                quiet = await readers.read(arguments.rate, _lasting(arguments.seconds))
                rebuilding = asyncio.create_task(_rebuild(nats_url, url, folder))
                during = await readers.read(arguments.rate, lambda begun: rebuilding.done())
                rate = await rebuilding
                after = await readers.read(arguments.rate, _lasting(arguments.seconds))
            finally:
                await waiting.stop()
                await pool.close()
    before = sorted(quiet + after)
    during.sort()
    return [
        Row("reads without a rebuild, p50", percentile(before, 0.5), "ms"),
        Row("reads without a rebuild, p99", percentile(before, 0.99), "ms"),
        Row("reads during the rebuild, p50", percentile(during, 0.5), "ms"),
        Row("reads during the rebuild, p99", percentile(during, 0.99), "ms"),
        Row("p99 during against without", percentile(during, 0.99) / percentile(before, 0.99), "times", "at most 2"),
        Row("the longest read during the rebuild", during[-1], "ms"),
        Row("reads during the rebuild", len(during), "reads"),
        Row("errors", readers.errors, "reads", "none"),
        Row("the rebuild, readers beside it", rate, "events/s"),
    ]


def _lasting(seconds: int) -> Callable[[float], bool]:
    return lambda begun: time.perf_counter() - begun > seconds


class _Readers:
    def __init__(self, model: ReadModel, people: dict[int, str]) -> None:
        # Without a cache: each read is of the database.
        self._pages = PageReader(PageQueries(model), NewestPages(most_bytes=0))
        self._pairs = [(people[one], people[other]) for one, other in history.pairs()]
        self._chance = random.Random(3)
        self.errors = 0

    async def read(self, rate: int, is_over: Callable[[float], bool]) -> list[float]:
        """Reads at a fixed rate per second; returns the milliseconds of each read."""
        begun = time.perf_counter()
        tasks: list[asyncio.Task[float]] = []
        while not is_over(begun):
            await asyncio.sleep(max(0.0, begun + len(tasks) / rate - time.perf_counter()))
            tasks.append(asyncio.create_task(self._read(len(tasks) % 2 == 0)))
        return [taken for taken in await asyncio.gather(*tasks) if taken]

    async def _read(self, messages: bool) -> float:
        one, other = self._chance.choice(self._pairs)
        begun = time.perf_counter()
        try:
            if messages:
                await self._pages.messages(PageRequest(one, other), Position(), before=None, after=None, limit=50)
            else:
                await self._pages.conversations(ListRequest(one, 50, None), Position())
        except Exception as error:
            self.errors += 1
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            return 0.0
        return (time.perf_counter() - begun) * 1_000


async def _rebuild(nats_url: str, database_url: str, folder: Path) -> float:
    """Runs `vestnik rebuild` in a session of its own, as in another terminal; returns its events per second."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "infra.cli.main", "rebuild", "conversations", "--json"),
        env={
            **os.environ,
            "VESTNIK_NATS_URL": nats_url,
            "VESTNIK_DATABASE_URL": database_url,
            "VESTNIK_DATA_DIR": str(folder),
        },
        stdout=PIPE,
        start_new_session=True,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    (rebuilt,) = msgspec.json.decode(said, type=Rebuilds).rebuilt
    return rebuilt.events_per_second


if __name__ == "__main__":
    main(measure, events=1_000_000, rate=200, seconds=20)
