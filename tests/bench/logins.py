"""Logins a second at cost 12 against the bound of bcrypt alone on these cores, and refreshes a second.

bcrypt alone has all cores. A login shares them with the system's idle work and with the clients of this measurement, so
its rate is also compared to the hashes for which those two leave time.
"""

import argparse
import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bcrypt
import msgspec

from tests.bench import people
from tests.bench.messenger.gauges import costs, part_of
from tests.bench.people import Login
from tests.bench.report import Row, main, percentile
from tests.fix_system import System

_COST = 12
_IN_FLIGHT = 8
_REFRESHING = 16
_IDLE_SECONDS = 10.0
_CORES = len(os.sched_getaffinity(0))
_TICKS = os.sysconf("SC_CLK_TCK")
# Parts of the processor time that are not the system's own for a login.
_HASHING, _CLIENT = "bcrypt", "client"


class Alone(msgspec.Struct, frozen=True):
    """bcrypt without anything else."""

    hashes_a_second: float
    # Seconds of processor time for one hash, all cores busy.
    cpu: float


class Phase(msgspec.Struct, frozen=True):
    """One series of requests, or of seconds without any."""

    count: int
    seconds: float
    # Milliseconds of each request, sorted.
    taken: list[float]
    # Seconds of processor time by part.
    spent: dict[str, float]

    @property
    def rate(self) -> float:
        return self.count / self.seconds

    def each(self, idle: "Phase") -> dict[str, float]:
        """Milliseconds of processor time for one request by part, without that of the idle system."""
        return {
            part: 1_000 * (spent - idle.spent.get(part, 0.0) / idle.seconds * self.seconds) / self.count
            for part, spent in self.spent.items()
        }


async def measure(arguments: argparse.Namespace) -> list[Row]:
    before = await asyncio.to_thread(_alone, arguments.bcrypts)
    with people.started({"VESTNIK_BCRYPT_COST": str(_COST)}, replicas=arguments.replicas) as system:
        async with people.client(system.url) as http:
            names = await people.people(system, http, arguments.people)
            logins: list[Login] = []
            devices: dict[str, str] = {}

            async def log_in(number: int) -> None:
                name = names[number % len(names)]
                login = await people.log_in(http, name, devices.get(name, ""))
                devices[name] = login.device_token
                logins.append(login)

            async def log_in_from_new_device(number: int) -> None:
                logins.append(await people.log_in(http, names[number % len(names)]))

            # Connections are opened, processes have done it once, and every device is known.
            await _phase(system, log_in, len(names), in_flight=4)
            idle = await _phase(system, lambda _: asyncio.sleep(_IDLE_SECONDS), 1, in_flight=1)
            known = await _phase(system, log_in, arguments.logins, in_flight=_IN_FLIGHT)
            new = await _phase(system, log_in_from_new_device, arguments.logins, in_flight=_IN_FLIGHT)
            # Each session is refreshed by one client, as it is in life.
            free: asyncio.Queue[Login] = asyncio.Queue()
            for login in logins:
                free.put_nowait(login)

            async def refresh(number: int) -> None:
                login = await free.get()
                try:
                    await people.refresh(http, login)
                finally:
                    free.put_nowait(login)

            refreshes = await _phase(system, refresh, arguments.refreshes, in_flight=_REFRESHING)
    # Before and after: others at work on the machine meanwhile slow both down.
    after = await asyncio.to_thread(_alone, arguments.bcrypts)
    alone = Alone((before.hashes_a_second + after.hashes_a_second) / 2, (before.cpu + after.cpu) / 2)
    what = f"{arguments.replicas} of each service"
    return [
        Row(f"bcrypt alone, cost {_COST}, all cores", alone.hashes_a_second, "hashes/s"),
        Row("… CPU of a hash", alone.cpu * 1_000, "ms"),
        Row("CPU of all processes while nothing happens", _of_system(idle) * 1_000, "ms/s"),
        *_login_rows(f"logins, {_IN_FLIGHT} in flight, {what}", known, idle, alone),
        *_login_rows("logins from new devices", new, idle, alone),
        Row(f"refreshes, {_REFRESHING} in flight, {what}", refreshes.rate, "refreshes/s"),
        Row("… p50", percentile(refreshes.taken, 0.5), "ms"),
        Row("… p99", percentile(refreshes.taken, 0.99), "ms"),
    ]


def _login_rows(what: str, logins: Phase, idle: Phase, alone: Alone) -> list[Row]:
    per_request = logins.each(idle)
    # Of one second of all cores.
    left = 1 - (_of_system(idle) + logins.spent[_CLIENT] / logins.seconds) / _CORES
    share = 100 * logins.rate / alone.hashes_a_second
    return [
        Row(what, logins.rate, "logins/s"),
        Row("… of bcrypt alone", share, "%", "at least 90"),
        Row("… of bcrypt in what the idle system and the clients leave", share / left, "%", "98 wanted"),
        Row("… p50", percentile(logins.taken, 0.5), "ms"),
        Row("… p99", percentile(logins.taken, 0.99), "ms"),
        Row("… CPU of its hash", per_request.pop(_HASHING), "ms"),
        Row("… CPU of the clients", per_request.pop(_CLIENT), "ms"),
        Row("… CPU of the system beside the hash", sum(per_request.values()), "ms"),
        *(Row(f"… of which {part}", per_request[part], "ms") for part in sorted(per_request)),
    ]


def _of_system(phase: Phase) -> float:
    """Seconds of processor time a second, without the clients."""
    return sum(spent for part, spent in phase.spent.items() if part != _CLIENT) / phase.seconds


def _spent(system: System) -> dict[str, float]:
    """Seconds of processor time by part since each began; the threads in which auth hashes are a part of their own."""
    spent = dict(costs(system).seconds)
    hashing = sum(_threads(process.pid) for process in system.processes() if part_of(process) == "auth")
    return {**spent, "auth": spent["auth"] - hashing, _HASHING: hashing}


def _threads(pid: int) -> float:
    """Seconds of processor time of a process's threads, except the first, which runs the event loop."""
    seconds = 0.0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        if thread.name != str(pid):
            fields = (thread / "stat").read_text().rpartition(")")[2].split()
            seconds += (int(fields[11]) + int(fields[12])) / _TICKS
    return seconds


def _alone(count: int) -> Alone:
    """A program that does nothing else, with as many threads as cores."""
    stored = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(_COST))

    def check(_: int) -> float:
        began = time.thread_time()
        bcrypt.checkpw(b"correct horse", stored)
        return time.thread_time() - began

    with ThreadPoolExecutor(_CORES) as pool:
        began = time.perf_counter()
        cpu = sum(pool.map(check, range(count)))
        return Alone(count / (time.perf_counter() - began), cpu / count)


async def _phase(system: System, work: Callable[[int], Awaitable[None]], count: int, *, in_flight: int) -> Phase:
    numbers, taken = iter(range(count)), list[float]()

    async def worker() -> None:
        for number in numbers:
            began = time.perf_counter()
            await work(number)
            taken.append((time.perf_counter() - began) * 1_000)

    before, began = _spent(system), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    seconds = time.perf_counter() - began
    spent = {part: used - before.get(part, 0.0) for part, used in _spent(system).items()}
    return Phase(count, seconds, sorted(taken), spent)


if __name__ == "__main__":
    main(measure, people=8, logins=160, refreshes=3_000, bcrypts=40, replicas=1)
