"""A process that does nothing but apply events to read models, as one of a service's replicas does."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection as Pipe

import uvloop

from infra.runtime.connections import open_pool
from projections.engine import Projection, Runners
from streams.jetstream.client import Client

_SPAWN = multiprocessing.get_context("spawn")


@asynccontextmanager
async def applying(
    projections: Sequence[type[Projection]], nats_url: str, database_url: str
) -> AsyncIterator[multiprocessing.process.BaseProcess]:
    """The process, ready to apply what comes."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_apply, args=(list(projections), nats_url, database_url, theirs))
    process.start()
    try:
        await asyncio.to_thread(ours.recv)
        yield process
    finally:
        ours.send(None)
        await asyncio.to_thread(process.join, 30)


def _apply(projections: list[type[Projection]], nats_url: str, database_url: str, theirs: Pipe) -> None:
    uvloop.run(_run(projections, nats_url, database_url, theirs))


async def _run(projections: list[type[Projection]], nats_url: str, database_url: str, theirs: Pipe) -> None:
    nc = Client()
    await nc.connect(nats_url)
    pool = await open_pool(database_url, "bench, applying")
    runners = Runners(projections, nc, pool, database_url)
    await runners.start()
    try:
        while not runners.ready():
            await asyncio.sleep(0.01)
        theirs.send(None)
        await asyncio.to_thread(theirs.recv)
    finally:
        await runners.stop()
        await pool.close()
        await nc.close()
