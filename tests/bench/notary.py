"""What the notary costs: CPU seconds of its process and of NATS per 100,000 events that it reads and hashes.

    ./just bench notary --events 300000

It reads a stream of messages from its beginning, with a head every ten seconds as in production. The same reading
without the notary's work is measured beside it. CPU time is what counts, so other load on the machine matters little.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from nats.aio.client import Client

from contracts.subjects import MESSAGING
from infra.embedded.nats_server import NatsServer
from infra.security.secrets import Secrets
from services.notary.stream_notary import StreamNotary
from services.notary.tree_log import TreeLog
from streams.log import Log
from streams.reader import Reader
from streams.topology import ensure_streams
from tests.bench.report import Row, main
from tests.integration.streams.conftest import fill

PER = 100_000


async def measure(arguments: argparse.Namespace) -> list[Row]:
    events: int = arguments.events
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = NatsServer(folder / "nats", sync_always=False)
        await server.start()
        nc = Client()
        try:
            await nc.connect(server.url)
            await ensure_streams(nc, replicas=1)
            await fill(Log(nc), events)
            for what, work in (("read", _read), ("read with headers", _read_with_headers), ("notary", _notarize)):
                own, nats = time.process_time(), _cpu_of(server)
                await work(nc, events, folder)
                own, nats = time.process_time() - own, _cpu_of(server) - nats
                rows.append(Row(f"{what}, per {PER:,} events: its process", own * PER / events, "CPU s"))
                rows.append(Row(f"{what}, per {PER:,} events: NATS", nats * PER / events, "CPU s"))
        finally:
            await nc.close()
            await server.stop()
    return rows


async def _read(nc: Client, events: int, folder: Path, *, headers: bool = False) -> None:
    async with Reader(nc, MESSAGING, name="bench", headers=headers, report_gaps=True) as reader:
        async for batch in reader.batches():
            if batch.position >= events:
                return


async def _read_with_headers(nc: Client, events: int, folder: Path) -> None:
    await _read(nc, events, folder, headers=True)


async def _notarize(nc: Client, events: int, folder: Path) -> None:
    trees = TreeLog(nc, Log(nc), Secrets.create(folder / "secrets").notary_keys())
    notary = asyncio.create_task(StreamNotary(nc, MESSAGING, trees, interval=10.0).run())
    while (last := (await trees.last(MESSAGING)).record) is None or last.last_sequence < events:
        await asyncio.sleep(0.2)
    notary.cancel()
    await asyncio.wait([notary])


def _cpu_of(server: NatsServer) -> float:
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


if __name__ == "__main__":
    main(measure, events=300_000)
