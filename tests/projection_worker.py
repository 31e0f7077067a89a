"""A process that applies events to read models until it is killed.

`python -m tests.projection_worker NATS DATABASE NAME…`
"""

import asyncio
import sys

import uvloop
from nats.errors import Error as NatsError

from infra.runtime.connections import open_pool
from projections.engine import Runners
from projections.registry import choose
from streams.jetstream.client import Client


async def main(nats_url: str, database_url: str, *names: str) -> None:
    nc = await _nats(nats_url)
    runners = Runners(choose(names), nc, await open_pool(database_url, "applier"), database_url)
    await runners.start()
    await runners.watch()


async def _nats(url: str) -> Client:
    while True:
        client = Client()
        try:
            await client.connect(url, allow_reconnect=True, max_reconnect_attempts=-1, reconnect_time_wait=1)
        except (NatsError, OSError):
            await client.close()
            await asyncio.sleep(0.1)
        else:
            return client


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
