"""The scenarios by name: what each needs, and how large it is in either size."""

from collections.abc import Awaitable, Callable

import msgspec

from tests.bench.messenger import accounts, day, large, reading, sending
from tests.bench.messenger.large import Measured
from tests.bench.messenger.world import World


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How large a run is."""

    name: str
    # Of friends who are measured.
    pairs: int
    # Of each load.
    seconds: float
    # Messages of the recorded day, of the long conversation, and of the past; people of the crowd.
    day: int
    long: int
    past: int
    users: int


SHORT = Size(name="short", pairs=40, seconds=3.0, day=150, long=3_000, past=20_000, users=1_000)
OFFICIAL = Size(name="official", pairs=200, seconds=10.0, day=10_000, long=100_000, past=1_000_000, users=100_000)
SIZES = {size.name: size for size in (SHORT, OFFICIAL)}


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    measure: Callable[[World, Size], Awaitable[Measured]]
    # Whether it needs a system of its own, in which nothing has happened.
    alone: bool = False
    # Why it cannot be measured here; empty where it can.
    missing: Callable[[], str] = lambda: ""


def _send(in_flight: int) -> Scenario:
    async def measure(world: World, size: Size) -> Measured:
        return Measured([await sending.send(world, in_flight=in_flight, seconds=size.seconds)])

    return Scenario(measure=measure)


async def _over_websockets(world: World, size: Size) -> Measured:
    return Measured([await sending.send_over_websockets(world, seconds=size.seconds)])


async def _read(world: World, size: Size) -> Measured:
    await world.with_messages()
    return Measured([await reading.read_last_50(world, in_flight=64, seconds=size.seconds)])


async def _read_changed(world: World, size: Size) -> Measured:
    half = len(world.pairs) // 2
    plain, changed = world.pairs[:half], world.pairs[half:]
    for pairs, is_changed in ((plain, False), (changed, True)):
        ids = [(one.user_id, other.user_id) for one, other in pairs]
        await world.seeder.talk(ids, 60 * len(ids), changed=is_changed)
    await world.caught_up()
    return Measured(*await reading.read_changed(world, plain=plain, changed=changed, seconds=size.seconds))


async def _list(world: World, size: Size) -> Measured:
    await world.with_messages()
    return Measured([await reading.list_conversations(world, in_flight=64, seconds=size.seconds)])


async def _refresh(world: World, size: Size) -> Measured:
    return Measured([await accounts.refresh(world, in_flight=16, seconds=size.seconds)])


async def _login(world: World, size: Size) -> Measured:
    return Measured([await accounts.log_in(world, in_flight=8, seconds=size.seconds)])


async def _day(world: World, size: Size) -> Measured:
    return Measured(await day.busiest_day(world, most=size.day))


async def _long(world: World, size: Size) -> Measured:
    return await large.long_conversation(world, messages=size.long, seconds=size.seconds)


async def _users(world: World, size: Size) -> Measured:
    return await large.many_users(world, users=size.users, seconds=size.seconds)


async def _growth(world: World, size: Size) -> Measured:
    return await large.growth(world, messages=size.past, seconds=size.seconds)


def _no_history() -> str:
    return "" if day.is_at_hand() else "since there is no recorded history beside the project"


SCENARIOS: dict[str, Scenario] = {
    **{f"send-{in_flight}": _send(in_flight) for in_flight in (1, 16, 64, 256)},
    "ws-send": Scenario(measure=_over_websockets),
    "read": Scenario(measure=_read),
    "list": Scenario(measure=_list),
    "refresh": Scenario(measure=_refresh),
    "login": Scenario(measure=_login),
    "read-changed": Scenario(measure=_read_changed, alone=True),
    "day": Scenario(measure=_day, missing=_no_history),
    "long": Scenario(measure=_long, alone=True),
    "users": Scenario(measure=_users, alone=True),
    "growth": Scenario(measure=_growth, alone=True),
}
