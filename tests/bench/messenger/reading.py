"""Read scenarios: the newest messages, lists of conversations, profiles."""

from collections.abc import Sequence

from tests.bench.messenger.driving import Outcome, drive
from tests.bench.messenger.wire import request
from tests.bench.messenger.world import Person, World


async def read_last_50(
    world: World, *, in_flight: int, seconds: float, name: str = "read", pairs: Sequence[tuple[Person, Person]] = ()
) -> Outcome:
    """The newest page of each pair's conversation."""
    among = pairs or world.pairs

    def make(turn: int) -> tuple[bytes, int]:
        one, other = among[turn % len(among)]
        return request("GET", world.system.url, f"/v1/conversations/{other.user_id}/messages?limit=50", one.token), turn

    return await drive(world, name, make, in_flight=in_flight, seconds=seconds)


async def list_conversations(
    world: World, *, in_flight: int, seconds: float, name: str = "list", people: Sequence[Person] = ()
) -> Outcome:
    among = people or world.people

    def make(turn: int) -> tuple[bytes, int]:
        return request("GET", world.system.url, "/v1/conversations", among[turn % len(among)].token), turn

    return await drive(world, name, make, in_flight=in_flight, seconds=seconds)


async def search(
    world: World, *, names: Sequence[str], in_flight: int, seconds: float, name: str = "search"
) -> Outcome:
    """Searches for users by name prefix."""
    people = world.people

    def make(turn: int) -> tuple[bytes, int]:
        wanted = names[turn * 7919 % len(names)][:5]
        path = f"/v1/profiles?query={wanted}"
        return request("GET", world.system.url, path, people[turn % len(people)].token), turn

    return await drive(world, name, make, in_flight=in_flight, seconds=seconds)
