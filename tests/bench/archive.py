"""How fast all streams go into one file, come back into an empty system and are verified, and how large the file is."""

import argparse
import resource
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from contracts.subjects import MESSAGING
from infra.archive.exporter import Exported, export
from infra.archive.importer import Imported, Steps, import_file
from infra.archive.output_file import target
from infra.archive.stream_access import Store
from infra.archive.stream_verification import StreamVerdict, verify_stream
from infra.archive.validation import require_valid
from infra.security.secrets import Secrets
from infra.settings import Settings
from streams.jetstream.client import Client
from streams.log import Log
from tests.bench import servers
from tests.bench.events import seed
from tests.bench.report import Row, main

_MEBIBYTE = 2**20


async def measure(arguments: argparse.Namespace) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export"
        secrets = Secrets.create(Path(folder) / "secrets")
        async with servers.nats(sync_always=True) as (client, _):
            await seed(Log(client), arguments.events)
            before, busy = _peak(), time.process_time()
            exported = await _export(client, secrets, path)
            exporting = time.process_time() - busy
        begin = time.perf_counter()
        require_valid(path, _silent)
        checked = time.perf_counter() - begin
        async with servers.nats(sync_always=True) as (client, url):
            settings = Settings(nats_url=url, data_dir=Path(folder), secrets_dir=str(Path(folder) / "secrets"))
            busy = time.process_time()
            imported = await _import(path, settings)
            importing = time.process_time() - busy
            peak = _peak()
            verified, verifying, kept = await _verify(client)
    return [
        Row(f"export of {exported.events:,} events", exported.events_per_second, "events/s"),
        Row("CPU of this process for it", exporting / exported.events * 1e6, "µs/event"),
        Row("of these, unpacked", exported.unpacked_bytes / exported.seconds / _MEBIBYTE, "MiB/s"),
        Row("the file", exported.bytes / exported.events, "bytes/event"),
        Row("the events in it, unpacked", exported.unpacked_bytes / exported.events, "bytes/event"),
        Row("ratio", exported.unpacked_bytes / exported.bytes, "times"),
        Row("check of the file", exported.events / checked, "events/s"),
        Row("import into an empty system, synced to disk", imported.events_per_second, "events/s"),
        Row("CPU of this process for it, check included", importing / imported.events * 1e6, "µs/event"),
        Row("memory that all this took at most, beyond what it began with", peak - before, "MiB", "bounded"),
        Row(f"verification of {verified.events:,} restored events", verified.events_per_second, "events/s"),
        Row("CPU of this process for it", verifying / verified.events * 1e6, "µs/event"),
        Row("memory that it took beyond that", kept / verified.events * 2**20, "bytes/event"),
    ]


async def _verify(client: Client) -> tuple[StreamVerdict, float, float]:
    """Verifies; returns the verdict, the CPU time of this process in seconds, and the growth of its memory in MiB."""
    before, busy = _peak(), time.process_time()
    verdict = await verify_stream(client, MESSAGING, _silent, ids=set(), discarded=lambda stream, sequence: False)
    assert verdict.sound, verdict.named
    return verdict, time.process_time() - busy, _peak() - before


async def _export(client: Client, secrets: Secrets, path: Path) -> Exported:
    with target(path, force=False) as file:
        return await export(client, secrets, file, str(path), _silent)


async def _import(path: Path, settings: Settings) -> Imported:
    return await import_file(path, nullcontext(Store(settings, alone=True)), Steps(_silent, _silent, _unheard))


def _silent(done: int, total: int) -> None:
    """Progress callback that reports nothing."""


def _unheard(text: str) -> None:
    """Message callback that prints nothing."""


def _peak() -> float:
    """Peak memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(measure, events=1_000_000)
