"""Logins a second at cost 12 against the bound of bcrypt alone on these cores, and refreshes a second."""

import argparse
import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import bcrypt

from tests.bench import people
from tests.bench.people import Login
from tests.bench.report import Row, main, percentile
from tests.fix_system import System

_COST = 12
_IN_FLIGHT = 8
_REFRESHING = 16
_IDLE_SECONDS = 5.0


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
            await _times(log_in, len(names), in_flight=4)
            began = _cpu(system)
            await asyncio.sleep(_IDLE_SECONDS)
            idle = (_cpu(system) - began) / _IDLE_SECONDS
            began = _cpu(system)
            seconds, taken = await _times(log_in, arguments.logins, in_flight=_IN_FLIGHT)
            used = _cpu(system) - began
            new_seconds, _ = await _times(log_in_from_new_device, arguments.logins, in_flight=_IN_FLIGHT)
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

            refresh_seconds, refresh_taken = await _times(refresh, arguments.refreshes, in_flight=_REFRESHING)
    # Before and after: others at work on the machine meanwhile slow both down.
    after = await asyncio.to_thread(_alone, arguments.bcrypts)
    bound = (before + after) / 2
    rate, hashing = arguments.logins / seconds, _cpu_of_a_hash(arguments.bcrypts)
    beside = (used - idle * seconds) / arguments.logins - hashing
    what = f"{arguments.replicas} of each service"
    return [
        Row(f"bcrypt alone, cost {_COST}, all cores", bound, "hashes/s"),
        Row(f"logins, {_IN_FLIGHT} in flight, {what}", rate, "logins/s"),
        Row("… of bcrypt alone", 100 * rate / bound, "%", "at least 90, 98 wanted"),
        Row("… from new devices, of bcrypt alone", 100 * arguments.logins / new_seconds / bound, "%"),
        Row("… CPU of a hash", hashing * 1_000, "ms"),
        Row("… CPU of all processes beside it, a login", beside * 1_000, "ms"),
        Row("CPU of all processes while nothing happens", idle * 1_000, "ms/s"),
        Row("logins, p50", percentile(taken, 0.5), "ms"),
        Row("… p99", percentile(taken, 0.99), "ms"),
        Row(f"refreshes, {_REFRESHING} in flight, {what}", arguments.refreshes / refresh_seconds, "refreshes/s"),
        Row("… p50", percentile(refresh_taken, 0.5), "ms"),
        Row("… p99", percentile(refresh_taken, 0.99), "ms"),
    ]


def _cpu(system: System) -> float:
    return sum(process.cpu_seconds for process in system.processes())


def _cpu_of_a_hash(count: int) -> float:
    """CPU seconds of one hash, independent of other load."""
    stored = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(_COST))
    began = time.thread_time()
    for _ in range(count):
        bcrypt.checkpw(b"correct horse", stored)
    return (time.thread_time() - began) / count


def _alone(count: int) -> float:
    """Hashes per second of a program that does nothing else, with as many threads as cores."""
    cores = len(os.sched_getaffinity(0))
    stored = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(_COST))
    with ThreadPoolExecutor(cores) as pool:
        began = time.perf_counter()
        list(pool.map(lambda _: bcrypt.checkpw(b"correct horse", stored), range(count)))
        return count / (time.perf_counter() - began)


async def _times(work: Callable[[int], Awaitable[None]], count: int, *, in_flight: int) -> tuple[float, list[float]]:
    """Seconds for all of it, and the milliseconds of each, sorted."""
    numbers, taken = iter(range(count)), list[float]()

    async def worker() -> None:
        for number in numbers:
            began = time.perf_counter()
            await work(number)
            taken.append((time.perf_counter() - began) * 1_000)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return time.perf_counter() - began, sorted(taken)


if __name__ == "__main__":
    main(measure, people=8, logins=160, refreshes=3_000, bcrypts=40, replicas=1)
