"""Scenarios of sessions: logins at production's bcrypt cost, and refreshes."""

import asyncio
import time
from collections.abc import Sequence

import msgspec

from tests.bench.messenger import gauges
from tests.bench.messenger.driving import Outcome, drive, outcome
from tests.bench.messenger.wire import Connection, request
from tests.bench.messenger.world import Person, World

_ENCODER = msgspec.json.Encoder()


async def log_in(
    world: World, *, in_flight: int, seconds: float, name: str = "login", people: Sequence[Person] = ()
) -> Outcome:
    among = people or world.people

    def make(turn: int) -> tuple[bytes, int]:
        person = among[turn % len(among)]
        body = _ENCODER.encode({"login": person.name, "password": person.password})
        return request("POST", world.system.url, "/v1/sessions", None, body), turn

    return await drive(world, name, make, in_flight=in_flight, seconds=seconds, warm_up=0, good=201)


async def refresh(world: World, *, in_flight: int, seconds: float) -> Outcome:
    """Refreshes the sessions of the given number of users repeatedly."""
    people = world.people[:in_flight]
    taken: list[float] = []

    async def one(person: Person, connection: Connection, until: float) -> None:
        while (begin := time.perf_counter()) < until:
            body = _ENCODER.encode({"refresh_token": person.refresh_token})
            status, answer = await connection.ask(request("POST", world.system.url, "/v1/sessions/refresh", None, body))
            assert status == 200, answer
            tokens = msgspec.json.decode(answer)
            person.token, person.refresh_token = tokens["access_token"], tokens["refresh_token"]
            taken.append((time.perf_counter() - begin) * 1_000)

    connections = [await Connection.open(world.system.url) for _ in people]
    before, begin = gauges.costs(world.system), time.perf_counter()
    await asyncio.gather(
        *(one(person, connection, begin + seconds) for person, connection in zip(people, connections, strict=True))
    )
    elapsed, cpu = time.perf_counter() - begin, gauges.costs(world.system).since(before)
    for connection in connections:
        connection.close()
    return outcome("refresh", len(people), taken, elapsed, cpu, 0)
