"""Memory of a reader with a backlog, while its consumer is slower than the stream."""

import argparse
import asyncio
import re
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

import uvloop

from contracts.subjects import MESSAGING
from streams.jetstream.client import Client
from streams.reader import Reader
from tests.bench import history, servers
from tests.bench.report import Row, main

_MEBI = 1024
P = ParamSpec("P")
T = TypeVar("T")


async def measure(arguments: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    async with servers.nats(sync_always=False) as (client, url):
        await history.write(client, islice(history.talk(history.people()), arguments.events))
        for backlog in (arguments.events // 100, arguments.events // 10, arguments.events):
            before, most = await in_fresh_process(_read, url, arguments.events - backlog)
            rows.append(Row(f"a backlog of {backlog:,}: before", before, "MiB"))
            rows.append(Row(f"a backlog of {backlog:,}: peak", most, "MiB", "does not grow with the backlog"))
    return rows


async def in_fresh_process(work: Callable[P, Coroutine[object, object, T]], *arguments: P.args, **named: P.kwargs) -> T:
    """Runs the work in a new process, so that its memory is measured alone."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return await asyncio.get_running_loop().run_in_executor(process, partial(_run, work, *arguments, **named))


def _run(work: Callable[P, Coroutine[object, object, T]], *arguments: P.args, **named: P.kwargs) -> T:
    return uvloop.run(work(*arguments, **named))


async def _read(url: str, after: int) -> tuple[float, float]:
    client = Client()
    await client.connect(url)
    before = peak()
    async with Reader(client, MESSAGING, after=after, name="bench") as reader:
        async for batch in reader.batches():
            for message in batch.messages:
                message.open()
            # As long again for whatever is done with the events: the server could send twice as much meanwhile.
            await asyncio.sleep(len(batch.messages) * 10e-6)
            if batch.pending == 0:
                break
    await client.close()
    return before, peak()


def peak() -> float:
    """The most memory that this process has had resident, in MiB."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1]) / _MEBI


if __name__ == "__main__":
    main(measure, events=1_000_000)
