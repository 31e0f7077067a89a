"""Measures idle live streams: the gateway's memory and processor time, and the time of a delivery among them."""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from uuid import uuid4

import msgspec

from tests.bench.messenger.gauges import costs, memory
from tests.bench.messenger.wire import Connection
from tests.bench.messenger.world import Person, world
from tests.bench.report import Row, main, percentile
from tests.sse_client import Stream, connect


async def measure(arguments: argparse.Namespace) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        async with world(Path(folder), pairs=arguments.pairs, replicas=arguments.replicas) as fresh:
            people, system = fresh.people, fresh.system
            # What the first stream brings with it is no stream's cost.
            warm = await connect(system.url, people[0].token)
            await asyncio.sleep(2)
            before = memory(system)["gateway"]
            streams: list[tuple[Person, Stream]] = []
            for number in range(arguments.streams):
                person = people[number % len(people)]
                streams.append((person, await connect(system.url, person.token)))
            await asyncio.sleep(2)
            after = memory(system)["gateway"]
            spent, begin = costs(system), time.perf_counter()
            await asyncio.sleep(arguments.seconds)
            idle = costs(system).since(spent)["gateway"] / (time.perf_counter() - begin)
            taken = sorted([await _delivery(system.url, streams, number) for number in range(arguments.deliveries)])
            for _, stream in streams:
                stream.close()
            warm.close()
    return [
        Row("streams", len(streams), "streams"),
        Row("memory of the gateway before", before, "MiB"),
        Row("memory of the gateway with them", after, "MiB"),
        Row("memory a stream", (after - before) * 1024 / len(streams), "KiB", "under 40"),
        Row("processor, idle", idle * 100, "% of one"),
        Row("delivery among them, p50", percentile(taken, 0.5), "ms"),
        Row("delivery among them, slowest", taken[-1], "ms"),
    ]


async def _delivery(url: str, streams: list[tuple[Person, Stream]], number: int) -> float:
    """Milliseconds from sending a message until its sender has it on a stream."""
    person, stream = streams[number % len(streams)]
    index = [owner.user_id for owner, _ in streams].index(person.user_id)
    peer = streams[index + 1 if index % 2 == 0 else index - 1][0]
    body = msgspec.json.encode({"text": "here", "client_message_id": uuid4().hex})
    head = (
        f"POST /v1/conversations/{peer.user_id}/messages HTTP/1.1\r\nHost: bench\r\n"
        f"Authorization: Bearer {person.token}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection = await Connection.open(url)
    stream.events.clear()
    begin = time.perf_counter()
    asking = asyncio.create_task(connection.ask(head.encode() + body))
    await stream.until(lambda received: bool(received.events))
    taken = (time.perf_counter() - begin) * 1_000
    status, answer = await asking
    assert status == 201, answer
    connection.close()
    return taken


if __name__ == "__main__":
    main(measure, streams=2_000, pairs=100, seconds=20, deliveries=50, replicas=1)
