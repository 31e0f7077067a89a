"""Pictures of the dashboards, from a Prometheus that scrapes a system while people use it and parts of it fail:
`./just bench dashboards`.

Users write to each other while the password of one is guessed. Meanwhile a service is killed, and later PostgreSQL does
not answer for some seconds.
"""

import argparse
import asyncio
import itertools
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from infra.devtools.dashboards.catalogue import DASHBOARDS
from infra.runtime.run_file import find
from tests.bench.panels import draw
from tests.bench.people import started
from tests.e2e.conftest import client
from tests.e2e.people import Api, Person
from tests.fix_system import ROOT, System
from tests.processes import family
from tests.prometheus_server import PrometheusServer, prometheus
from tests.sse_client import listening

FOLDER = ROOT / "docs" / "reference" / "plots"
# Rates are over this many seconds; Grafana would choose four times the interval of the scrapes.
_RATE = "10s"
_PEOPLE = 8
# Seconds for which PostgreSQL does not answer, and between two points of a curve.
_FROZEN = 8.0
_STEP = 2.0


async def write_on(people: list[Person], until: float) -> None:
    """Users send messages to each other; the rate rises until the middle of the run and falls again."""
    begun, pairs = time.monotonic(), list(itertools.permutations(people, 2))

    async def one(sender: Person, recipient: Person) -> None:
        # While a part is down, a message is refused.
        await sender.write(recipient, "Shall we meet at eight?")
        if random.random() < 0.3:
            await recipient.get(f"/v1/conversations/{sender.user_id}/messages")

    while (now := time.monotonic()) < until:
        busy = 1 - abs(2 * (now - begun) / (until - begun) - 1)
        await asyncio.gather(*(one(*pair) for pair in random.sample(pairs, 2 + int(26 * busy))))
        await asyncio.sleep(0.2)


async def log_in(api: Api, people: list[Person], until: float) -> None:
    """The first person's password is guessed; the others log in now and then."""
    attacked, *others = people
    while time.monotonic() < until:
        await api.log_in(attacked.email, "not the password")
        if random.random() < 0.3:
            answer = await api.log_in(random.choice(others).email)
            if answer.status_code == 201:
                await api.http.post("/v1/sessions/refresh", json={"refresh_token": answer.json()["refresh_token"]})
        await asyncio.sleep(0.5)


async def arrive(api: Api, until: float) -> None:
    while time.monotonic() < until:
        await api.http.post("/v1/users", json=api.registration())
        await asyncio.sleep(random.uniform(0.5, 2.0))


async def fail(system: System, seconds: float) -> None:
    """Kills a service, and later stops all processes of PostgreSQL for some seconds."""
    await asyncio.sleep(seconds * 0.3)
    for process in system.serving("messaging"):
        process.kill()
    await asyncio.sleep(seconds * 0.3)
    (postmaster,) = system.serving("postgres")
    frozen = family(postmaster.pid)
    for process in frozen:
        process.send(signal.SIGSTOP)
    await asyncio.sleep(_FROZEN)
    for process in frozen:
        process.send(signal.SIGCONT)


@asynccontextmanager
async def used(system: System) -> AsyncIterator[tuple[Api, list[Person]]]:
    """The system with users who are all friends and listen to live events."""
    async with client(system) as http, AsyncExitStack() as streams:
        api = Api(system, http)
        people = await api.people(_PEOPLE)
        for one, other in itertools.combinations(people, 2):
            await api.befriend(one, other)
        for person in people:
            await streams.enter_async_context(listening(system.url, person.access_token))
        yield api, people


async def take(folder: Path, seconds: float) -> None:
    with started({"VESTNIK_RATE_LIMITS": "on"}, replicas=1) as system, TemporaryDirectory() as data:
        async with prometheus(Path(data), find(system.data_dir).metrics) as server, used(system) as (api, people):
            await server.scraped()
            begun, until = time.time(), time.monotonic() + seconds
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(write_on(people, until))
                tasks.create_task(log_in(api, people, until))
                tasks.create_task(arrive(api, until))
                tasks.create_task(fail(system, seconds))
            await server.scraped()
            await draw_all(server, folder, begun, time.time())


async def draw_all(server: PrometheusServer, folder: Path, start: float, end: float) -> None:
    for dashboard in DASHBOARDS:
        answers = {}
        for panel in dashboard.panels:
            exprs = [query.expr.replace("$__rate_interval", _RATE) for query in panel.queries]
            answers[panel.title] = [await server.query_range(expr, start=start, end=end, step=_STEP) for expr in exprs]
        path = folder / f"dashboard-{dashboard.name}.svg"
        path.write_text(draw(dashboard, answers, start, end), encoding="utf-8")
        sys.stdout.write(f"{path}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="for the pictures")
    parser.add_argument("--seconds", type=float, default=120.0, help="of traffic")
    arguments = parser.parse_args()
    asyncio.run(take(arguments.folder, arguments.seconds))


if __name__ == "__main__":
    main()
