"""Messages a second, and what one costs, with one and with two replicas of the gateway and of every service.

Both kinds of systems are fresh, and measured in turns. For each load it says what bounds it: the machine's processors,
one process that has a core for itself, or neither, which leaves the waits for the event store's disk.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.bench.messenger.driving import Outcome
from tests.bench.messenger.sending import send
from tests.bench.messenger.world import world
from tests.bench.report import Row, machine, main

_REPLICAS = (1, 2)
_IN_FLIGHT = (16, 64, 256)
# Parts of which each has a line of its own; all others share one.
_SHOWN = ("gateway", "messaging", "nats", "postgres", "client")
# Parts that are replicated and have one thread that works.
_SINGLE_THREADED = ("gateway", "messaging")
# From this share on a processor counts as used up: what is left goes into switches between processes.
_USED_UP = 0.9


async def measure(arguments: argparse.Namespace) -> list[Row]:
    measured: defaultdict[tuple[int, int], list[Outcome]] = defaultdict(list)
    for _ in range(arguments.rounds):
        for replicas in _REPLICAS:
            with TemporaryDirectory() as folder:
                # The database does not run as root.
                Path(folder).chmod(0o755)
                async with world(Path(folder), pairs=arguments.pairs, replicas=replicas) as fresh:
                    for in_flight in _IN_FLIGHT:
                        measured[replicas, in_flight].append(
                            await send(fresh, in_flight=in_flight, seconds=arguments.seconds)
                        )
    cores = int(machine()["cores"])
    return [row for (replicas, _), outcomes in sorted(measured.items()) for row in rows(replicas, outcomes, cores)]


def rows(replicas: int, outcomes: Sequence[Outcome], cores: int) -> list[Row]:
    """The medians of the rounds of one load."""
    rate = median(outcome.per_second for outcome in outcomes)
    cpu: defaultdict[str, float] = defaultdict(float)
    for part in {part for outcome in outcomes for part in outcome.cpu}:
        cpu[part if part in _SHOWN else "others"] += median(outcome.cpu.get(part, 0.0) for outcome in outcomes)
    name = f"{replicas} {'replica' if replicas == 1 else 'replicas'}, {outcomes[0].in_flight} in flight"
    used = rate * sum(cpu.values()) / 1e6
    return [
        Row(f"{name}: messages", rate, "per s"),
        Row(f"{name}: p99 of acknowledgement", median(outcome.p99 for outcome in outcomes), "ms"),
        *(Row(f"{name}: processor time, {part}", cpu[part], "µs each") for part in (*_SHOWN, "others") if cpu[part]),
        Row(f"{name}: processor time, all", sum(cpu.values()), "µs each"),
        Row(f"{name}: processors in use", used, "cores", f"of {cores}: bound by {bound(rate, cpu, replicas, cores)}"),
    ]


def bound(rate: float, cpu: dict[str, float], replicas: int, cores: int) -> str:
    """What keeps the rate from being higher; `cpu`: microseconds for each message, by part."""
    if rate * sum(cpu.values()) / 1e6 >= _USED_UP * cores:
        return "the processors of the machine"
    single, part = max((rate * cpu.get(part, 0.0) / 1e6 / replicas, part) for part in _SINGLE_THREADED)
    if single >= _USED_UP:
        return f"the core of one process of {part}"
    return "waits, mostly for the event store's disk"


if __name__ == "__main__":
    main(measure, pairs=200, seconds=10, rounds=3)
