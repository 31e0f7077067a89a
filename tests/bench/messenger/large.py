"""Large systems: one long conversation, many users, and a history of a million messages."""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from contracts.values.ids import new_id
from tests.bench.messenger import gauges
from tests.bench.messenger.accounts import log_in
from tests.bench.messenger.driving import Outcome, drive, outcome
from tests.bench.messenger.reading import list_conversations, read_last_50, search
from tests.bench.messenger.sending import send
from tests.bench.messenger.wire import Connection, request
from tests.bench.messenger.world import Person, World, someone
from tests.bench.messenger.world import world as fresh_world

_OTHER_PAIRS = 10_000
# After so many seconds the server has let go of what it keeps of events that were just written (their ids, indexes of
# their blocks), and the database has gone through what came: what is left is the price of what is stored.
_AT_REST = 180.0
# Of both systems, one after the other.
_TURNS = 3


class Measured(msgspec.Struct):
    """Results of a scenario with a large system: loads, and further figures by name."""

    outcomes: list[Outcome] = []
    figures: dict[str, float] = {}


class _Page(msgspec.Struct):
    items: list[dict[str, object]]
    next: str | None


_PAGE = msgspec.json.Decoder(_Page)


async def long_conversation(world: World, *, messages: int, seconds: float) -> Measured:
    """Measures one long conversation: opening it, scrolling back through it, and sending into it by both members."""
    pair = world.pairs[0]
    one, other = pair
    begin = time.perf_counter()
    await world.seeder.talk([(one.user_id, other.user_id)], messages)
    written = time.perf_counter()
    await world.caught_up()
    figures = {
        "messages in the conversation": float(messages),
        "seconds to write them": round(written - begin, 1),
        "… and more until all read models had them": round(time.perf_counter() - written, 1),
    }
    outcomes = [
        await read_last_50(world, in_flight=64, seconds=seconds, name="long: open", pairs=[pair]),
        await _scroll_back(world, pair, messages, seconds),
        await _anywhere(world, pair, messages, seconds),
        await send(world, in_flight=64, seconds=seconds, name="long: send into", pairs=[pair]),
    ]
    return Measured(outcomes, figures)


async def many_users(world: World, *, users: int, seconds: float) -> Measured:
    """Measures the usual pairs in a system with many other users, some of whom befriend them and send messages."""
    begin = time.perf_counter()
    names = [f"{_syllables(number)}{number}" for number in range(users)]
    crowd = someone(await world.seeder.people(names))
    friends = [(crowd[index], crowd[-1 - index]) for index in range(min(200, users // 2))]
    await world.seeder.befriend([(one.user_id, other.user_id) for one, other in friends])
    written = time.perf_counter()
    await world.caught_up()
    await world.seeder.reactions_done(900)
    figures = {
        "users": float(users),
        "seconds to write them": round(written - begin, 1),
        "… and more until all read models had them": round(time.perf_counter() - written, 1),
    }
    people = [person for pair in friends for person in pair]
    await world.let_in(people)
    await world.renew()
    await world.with_messages(friends)
    outcomes = [
        await send(world, in_flight=64, seconds=seconds, name="users: send-64", pairs=friends),
        await read_last_50(world, in_flight=64, seconds=seconds, name="users: read", pairs=friends),
        await list_conversations(world, in_flight=64, seconds=seconds, name="users: list", people=people),
        await search(world, names=names, in_flight=16, seconds=seconds, name="users: search"),
        await log_in(world, in_flight=8, seconds=seconds, name="users: login", people=crowd),
    ]
    return Measured(outcomes, figures)


async def growth(world: World, *, messages: int, seconds: float) -> Measured:
    """The send rate and the memory with the given number of stored messages, compared with none.

    Rates are measured in turns with a fresh system beside this one: minutes apart the machine is not the same.
    """
    before = gauges.memory(world.system)
    begin = time.perf_counter()
    pairs = [(one.user_id, other.user_id) for one, other in world.pairs]
    pairs += [(new_id(), new_id()) for _ in range(min(_OTHER_PAIRS, messages // 10))]
    await world.seeder.befriend(pairs[len(world.pairs) :])
    await world.seeder.talk(pairs, messages)
    written = time.perf_counter()
    await world.caught_up()
    caught_up = time.perf_counter()
    await world.renew()
    after = gauges.memory(world.system)
    outcomes = [
        await send(world, in_flight=64, seconds=seconds, name="growth: send-64, just written"),
        await read_last_50(world, in_flight=64, seconds=seconds, name="growth: read"),
    ]
    used = gauges.memory(world.system)
    await asyncio.sleep(_AT_REST)
    rested = gauges.memory(world.system)
    await world.renew()
    empty = full = 0.0
    with tempfile.TemporaryDirectory() as folder:
        async with fresh_world(Path(folder), pairs=len(world.pairs)) as fresh:
            for turn in range(1, _TURNS + 1):
                outcomes += [
                    without := await send(fresh, in_flight=64, seconds=seconds, name=f"growth: send-64, none, {turn}"),
                    having := await send(world, in_flight=64, seconds=seconds, name=f"growth: send-64, stored, {turn}"),
                ]
                empty += without.per_second
                full += having.per_second
    figures = {
        "messages stored": float(messages),
        "events a second, written": round(messages / (written - begin), 0),
        "… and more seconds until all read models had them": round(caught_up - written, 1),
        "rate with them against without, %": round(100 * full / max(empty, 0.1), 1),
        "memory idle, MiB (PSS)": round(sum(before.values()), 0),
        "memory with them, MiB (PSS)": round(sum(after.values()), 0),
        "… after the sends and reads": round(sum(used.values()), 0),
        f"… and {_AT_REST:.0f} s later": round(sum(rested.values()), 0),
        "… of which NATS": round(rested.get("nats", 0.0), 0),
        "… of which PostgreSQL": round(rested.get("postgres", 0.0), 0),
    }
    return Measured(outcomes, figures)


async def _scroll_back(world: World, pair: tuple[Person, Person], messages: int, seconds: float) -> Outcome:
    """One user reads page after page from the newest on; the pages must follow without a gap."""
    one, other = pair
    path = f"/v1/conversations/{other.user_id}/messages?limit=50"
    connection = await Connection.open(world.system.url)
    taken: list[float] = []
    cursor, expected = "", messages
    before, begin = gauges.costs(world.system), time.perf_counter()
    try:
        while time.perf_counter() - begin < seconds:
            asked = time.perf_counter()
            wanted = f"{path}&cursor={cursor}" if cursor else path
            status, body = await connection.ask(request("GET", world.system.url, wanted, one.token))
            assert status == 200, body
            page = _PAGE.decode(body)
            taken.append((time.perf_counter() - asked) * 1_000)
            if not cursor:
                expected = int(str(page.items[0]["sequence"]))
            for item in page.items:
                assert item["sequence"] == expected, f"{item['sequence']} instead of {expected}"
                expected -= 1
            cursor = page.next or ""
    finally:
        connection.close()
    elapsed, cpu = time.perf_counter() - begin, gauges.costs(world.system).since(before)
    return outcome("long: scroll back", 1, taken, elapsed, cpu, 0)


async def _anywhere(world: World, pair: tuple[Person, Person], messages: int, seconds: float) -> Outcome:
    """Pages from all over the conversation."""
    one, other = pair

    def make(turn: int) -> tuple[bytes, int]:
        before = 51 + turn * 7919 % max(messages - 51, 1)
        path = f"/v1/conversations/{other.user_id}/messages?limit=50&before={before}"
        return request("GET", world.system.url, path, one.token), turn

    return await drive(world, "long: any page", make, in_flight=64, seconds=seconds)


def _syllables(number: int) -> str:
    """A name prefix with so many variants that few names share one."""
    parts: Sequence[str] = ("ka", "lo", "mi", "nu", "pe", "ra", "so", "ti", "ve", "za")
    return "".join(parts[number // 10**index % 10] for index in range(4))
