"""How much memory a reader takes with a backlog, while whoever it reads for is slower than the stream."""

import argparse
import asyncio
import re
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import uvloop

from contracts.subjects import MESSAGING
from streams.client import Client
from streams.log import Log
from streams.reader import Reader
from tests.bench import servers
from tests.bench.events import seed
from tests.bench.report import Row, main

_MEBI = 1024


async def measure(arguments: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    loop = asyncio.get_running_loop()
    async with servers.nats(sync_always=False) as (client, url):
        await seed(Log(client), arguments.events)
        for backlog in (arguments.events // 100, arguments.events // 10, arguments.events):
            # A fresh process for each, of which nothing but the reader has used memory.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                before, peak = await loop.run_in_executor(process, _follow, url, arguments.events - backlog)
            rows.append(Row(f"a backlog of {backlog:,}: before", before, "MiB"))
            rows.append(Row(f"a backlog of {backlog:,}: peak", peak, "MiB", "does not grow with the backlog"))
    return rows


def _follow(url: str, after: int) -> tuple[float, float]:
    return uvloop.run(_read(url, after))


async def _read(url: str, after: int) -> tuple[float, float]:
    client = Client()
    await client.connect(url)
    before = _peak()
    async with Reader(client, MESSAGING, after=after, name="bench") as reader:
        async for batch in reader.batches():
            for message in batch.messages:
                message.open()
            # As long again for whatever is done with the events: the server could send twice as much meanwhile.
            await asyncio.sleep(len(batch.messages) * 10e-6)
            if batch.pending == 0:
                break
    peak = _peak()
    await client.close()
    return before, peak


def _peak() -> float:
    """The most memory that this process has had resident, in MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / _MEBI


if __name__ == "__main__":
    main(measure, events=1_000_000)
