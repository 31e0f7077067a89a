"""A fresh system with production settings and users: pairs of friends, each user with a session."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from infra.load.gateway_client import Gateway, refusal
from tests.bench.messenger.seeding import PASSWORD, Seeded, Seeder, seeder
from tests.fix_system import System

_AT_ONCE = 16
PRODUCTION = {"VESTNIK_BCRYPT_COST": "12", "VESTNIK_RATE_LIMITS": "off"}


class Person(msgspec.Struct):
    name: str
    user_id: str
    token: str
    refresh_token: str
    password: str = PASSWORD


class World:
    def __init__(self, system: System, seeder: Seeder) -> None:
        self.system = system
        self.seeder = seeder
        self.pairs: list[tuple[Person, Person]] = []
        # Those who have a past.
        self._talked: set[tuple[str, str]] = set()

    @property
    def people(self) -> list[Person]:
        return [person for pair in self.pairs for person in pair]

    async def with_messages(self, pairs: Sequence[tuple[Person, Person]] = (), count: int = 60) -> None:
        """Ensures that each pair (default: all pairs) has exchanged at least the given number of messages."""
        among = [(one.user_id, other.user_id) for one, other in pairs or self.pairs]
        new = [pair for pair in among if pair not in self._talked]
        if new:
            await self.seeder.talk(new, count * len(new))
            await self.caught_up()
            self._talked.update(new)

    async def renew(self) -> None:
        """A fresh access token for everybody: one is good for 15 minutes."""
        await self.let_in(self.people)

    async def let_in(self, people: Sequence[Person]) -> None:
        gateway = Gateway(self.system.url)
        try:
            await together(people, lambda person: _refresh(gateway, person))
        finally:
            gateway.close()

    async def caught_up(self, within: float = 900.0) -> None:
        """Waits until every read model has all that is in the streams.

        Raises:
            TimeoutError: they have not in time.
        """
        async with asyncio.timeout(within):
            while True:
                shown = await asyncio.to_thread(self.system.vestnik, "status", "--json", within=60)
                if shown.returncode == 0:
                    status = msgspec.json.decode(shown.stdout, type=_Status)
                    if status.projections and all(projection.lag == 0 for projection in status.projections):
                        return
                await asyncio.sleep(0.5)


class _Projection(msgspec.Struct):
    # Events; None where nobody can tell.
    lag: int | None = None


class _Status(msgspec.Struct):
    projections: list[_Projection]


@asynccontextmanager
async def world(folder: Path, *, pairs: int, replicas: int = 1) -> AsyncIterator[World]:
    """Creates the given number of pairs of friends on a running system."""
    system = System(folder / "data", replicas=replicas, settings=PRODUCTION)
    try:
        await asyncio.to_thread(system.start)
        async with seeder(system) as writing:
            populated = World(system, writing)
            people = someone(await writing.people(f"p{number:06}" for number in range(2 * pairs)))
            populated.pairs = list(zip(people[::2], people[1::2], strict=True))
            await writing.befriend([(one.user_id, other.user_id) for one, other in populated.pairs])
            await writing.reactions_done(60)
            await populated.caught_up(60)
            await populated.renew()
            yield populated
    finally:
        await asyncio.to_thread(system.stop)


def someone(seeded: Sequence[Seeded]) -> list[Person]:
    return [Person(user.username, user.user_id, "", user.refresh_token) for user in seeded]


async def together(
    items: Sequence[Any], work: Callable[[Any], Coroutine[Any, Any, None]], at_once: int = _AT_ONCE
) -> None:
    """Runs a function for each item, with limited concurrency."""
    left = iter(items)

    async def worker() -> None:
        for item in left:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker())


async def _refresh(gateway: Gateway, person: Person) -> None:
    answer = await gateway.ask("POST", "/v1/sessions/refresh", {"refresh_token": person.refresh_token})
    if answer.status != 200:
        raise refusal(answer)
    tokens = msgspec.json.decode(answer.body)
    person.token, person.refresh_token = tokens["access_token"], tokens["refresh_token"]
