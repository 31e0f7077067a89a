"""Read scenarios: the newest messages, lists of conversations, profiles."""

from collections.abc import Sequence

from tests.bench.messenger.driving import Outcome, drive
from tests.bench.messenger.wire import request
from tests.bench.messenger.world import Person, World

# Of both kinds of pages, one after the other.
_TURNS = 3


async def read_last_50(
    world: World,
    *,
    in_flight: int,
    seconds: float,
    name: str = "read",
    pairs: Sequence[tuple[Person, Person]] = (),
    before: int | None = None,
) -> Outcome:
    """The newest page of each pair's conversation, or the one before a sequence, which no process keeps."""
    among = pairs or world.pairs
    query = "limit=50" if before is None else f"limit=50&before={before}"

    def make(turn: int) -> tuple[bytes, int]:
        one, other = among[turn % len(among)]
        return request("GET", world.system.url, f"/v1/conversations/{other.user_id}/messages?{query}", one.token), turn

    return await drive(world, name, make, in_flight=in_flight, seconds=seconds)


async def read_changed(
    world: World, *, plain: Sequence[tuple[Person, Person]], changed: Sequence[tuple[Person, Person]], seconds: float
) -> tuple[list[Outcome], dict[str, float]]:
    """Pages of plain and of changed messages in turns, so that both meet the same machine, and how the two compare.

    Each conversation has 60 messages.
    """
    outcomes: list[Outcome] = []
    figures: dict[str, float] = {}
    for page, before in (("newest page", None), ("page built for each request", 56)):
        costs: dict[str, list[float]] = {"plain": [], "changed": []}
        for turn in range(1, _TURNS + 1):
            for kind, pairs in (("plain", plain), ("changed", changed)):
                name = f"read-changed: {page}, {kind}, {turn}"
                outcomes.append(
                    read := await read_last_50(
                        world, in_flight=64, seconds=seconds / _TURNS, name=name, pairs=pairs, before=before
                    )
                )
                costs[kind].append(read.servers_cpu)
        figures[f"servers' CPU of a changed {page} against a plain one"] = round(
            sum(costs["changed"]) / sum(costs["plain"]), 3
        )
    return outcomes, figures


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
