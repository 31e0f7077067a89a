"""Measures an idle system: processor time and wake-ups per second, by part."""

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.bench.messenger.gauges import costs, part_of
from tests.bench.messenger.world import world
from tests.bench.report import Row, main
from tests.fix_system import System

# Seconds until nothing of the start is under way any more.
_SETTLING = 15


async def measure(arguments: argparse.Namespace) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        async with world(Path(folder), pairs=arguments.pairs, replicas=arguments.replicas) as fresh:
            # Every stream has events: a projection whose streams are empty waits for the first one in another way.
            await fresh.with_messages(count=2)
            return await _measure_idle(fresh.system, arguments.seconds)


async def _measure_idle(system: System, seconds_wanted: int) -> list[Row]:
    await asyncio.sleep(_SETTLING)
    spent, woken, begun = costs(system), _wake_ups(system), time.perf_counter()
    await asyncio.sleep(seconds_wanted)
    seconds = time.perf_counter() - begun
    processor, wake_ups = costs(system).since(spent), _wake_ups(system)
    del processor["client"]
    wake_ups.subtract(woken)
    return [
        *(Row(f"processor, {part}", processor[part] * 1_000 / seconds, "ms/s") for part in sorted(processor)),
        Row("processor, all", sum(processor.values()) * 1_000 / seconds, "ms/s"),
        *(Row(f"wake-ups, {part}", wake_ups[part] / seconds, "a second") for part in sorted(wake_ups)),
        Row("wake-ups, all", wake_ups.total() / seconds, "a second"),
    ]


def _wake_ups(system: System) -> Counter[str]:
    """Number of voluntary context switches so far, of all threads of each part."""
    switches: Counter[str] = Counter()
    for process in system.processes():
        for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
            switches[part_of(process)] += int(lines["voluntary_ctxt_switches"])
    return switches


if __name__ == "__main__":
    main(measure, seconds=60, pairs=10, replicas=1)
