"""Load: a fixed number of connections with sequential requests each, and their outcomes."""

import itertools
import time
from asyncio import gather
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from tests.bench.messenger import gauges
from tests.bench.messenger.wire import Connection
from tests.bench.messenger.world import World
from tests.bench.report import percentile


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Results of a load. Times in milliseconds, processor time in microseconds per request and part."""

    scenario: str
    in_flight: int
    requests: int
    per_second: float
    p50: float
    p99: float
    p999: float
    errors: int
    cpu: dict[str, float] = {}
    delivered: int | None = None
    delivery_p50: float | None = None
    delivery_p99: float | None = None

    @property
    def servers_cpu(self) -> float:
        """Processor time in microseconds per request, of all processes but the load generator."""
        return sum(spent for part, spent in self.cpu.items() if part != "client")

    @property
    def client_share(self) -> float:
        """The load generator's share of all processor time."""
        spent = sum(self.cpu.values())
        return self.cpu.get("client", 0.0) / spent if spent else 0.0


# The next request in bytes, with the number that it is known by.
Make = Callable[[int], tuple[bytes, int]]
# Sends it, and gives the answer's status.
Ask = Callable[[bytes], Awaitable[int]]


async def drive(
    world: World,
    scenario: str,
    make: Make,
    *,
    in_flight: int,
    seconds: float,
    warm_up: float = 1.0,
    accepted: set[int] | None = None,
    good: int = 200,
) -> Outcome:
    """Runs the given number of connections, each with one request after the other."""
    connections = [await Connection.open(world.system.url) for _ in range(in_flight)]

    def asking(connection: Connection) -> Ask:
        async def ask(request: bytes) -> int:
            return (await connection.ask(request))[0]

        return ask

    try:
        return await drive_all(
            world,
            scenario,
            make,
            [asking(connection) for connection in connections],
            seconds=seconds,
            warm_up=warm_up,
            accepted=accepted,
            good=good,
        )
    finally:
        for connection in connections:
            connection.close()


async def drive_all(
    world: World,
    scenario: str,
    make: Make,
    workers: Sequence[Ask],
    *,
    seconds: float,
    warm_up: float = 1.0,
    accepted: set[int] | None = None,
    good: int = 200,
) -> Outcome:
    """Sends the requests, as many at a time as there are workers."""
    turns = itertools.count()
    taken: list[float] = []
    errors = 0

    async def work(ask: Ask, until: float) -> None:
        nonlocal errors
        while (begin := time.perf_counter()) < until:
            wanted, number = make(next(turns))
            if await ask(wanted) != good:
                errors += 1
                continue
            taken.append((time.perf_counter() - begin) * 1_000)
            if accepted is not None:
                accepted.add(number)

    if warm_up:
        until = time.perf_counter() + warm_up
        await gather(*(work(ask, until) for ask in workers))
        taken.clear()
    before, begin = gauges.costs(world.system), time.perf_counter()
    await gather(*(work(ask, begin + seconds) for ask in workers))
    elapsed, cpu = time.perf_counter() - begin, gauges.costs(world.system).since(before)
    return outcome(scenario, len(workers), taken, elapsed, cpu, errors)


def outcome(
    scenario: str, in_flight: int, taken: list[float], elapsed: float, cpu: dict[str, float], errors: int
) -> Outcome:
    taken.sort()
    count = max(1, len(taken))
    return Outcome(
        scenario=scenario,
        in_flight=in_flight,
        requests=len(taken),
        per_second=round(len(taken) / elapsed, 1),
        p50=round(percentile(taken, 0.5), 2) if taken else 0.0,
        p99=round(percentile(taken, 0.99), 2) if taken else 0.0,
        p999=round(percentile(taken, 0.999), 2) if taken else 0.0,
        errors=errors,
        cpu={part: round(spent / count * 1e6, 1) for part, spent in sorted(cpu.items()) if spent > 0},
    )
