"""Gateways exchange presence in batches and in order, and recover after a loss or a death."""

import asyncio
from typing import cast

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.values.ids import new_id
from services.gateway.presence.exchange import EXPIRES_SECONDS, HEARTBEAT_SECONDS, PresenceExchange
from services.gateway.presence.gateway_bus import GatewayBus
from services.gateway.presence.messages import PresenceMessage

GRACE = 5.0
_DECODER = msgspec.msgpack.Decoder(PresenceMessage)
PEOPLE = [new_id() for _ in range(6)]


class Network:
    """Carries each message to every gateway, unless one is cut off."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.gateways: list[Gateway] = []
        self.sent: list[tuple[str, int]] = []

    def add(self) -> "Gateway":
        gateway = Gateway(self)
        self.gateways.append(gateway)
        return gateway

    async def settle(self, seconds: float = 2 * HEARTBEAT_SECONDS) -> None:
        """Lets time pass; every running gateway performs a step each half second."""
        for _ in range(int(seconds * 2)):
            self.now += 0.5
            for gateway in self.gateways:
                if gateway.lives:
                    await gateway.exchange.step()


class Gateway:
    """One exchange, its bus, and the calls to its listener."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.lives = self.connected = True
        self.online: set[str] = set()
        self.offline_at: dict[str, float | None] = {}
        self.exchange = PresenceExchange(cast(GatewayBus, self), self, grace=GRACE, clock=lambda: network.now)

    # GatewayBus

    async def send(self, subject: str, payload: bytes) -> bool:
        if not self.connected:
            return False
        self.network.sent.append((subject, len(payload)))
        for gateway in self.network.gateways:
            if gateway.connected and gateway.lives:
                gateway.exchange.receive(_DECODER.decode(payload))
        return True

    # PresenceListener

    def on_online(self, user_id: str) -> None:
        assert user_id not in self.online
        self.online.add(user_id)

    def on_offline(self, user_id: str, gateway: str, at: float | None) -> None:
        self.online.remove(user_id)
        self.offline_at[user_id] = at


def network(number: int = 2) -> tuple[Network, list[Gateway]]:
    net = Network()
    return net, [net.add() for _ in range(number)]


async def test_a_user_is_online_everywhere_while_they_are_at_one_gateway() -> None:
    net, (one, other) = network()
    one.exchange.set_online(PEOPLE[0])
    other.exchange.set_online(PEOPLE[0])
    await net.settle()
    assert one.online == other.online == {PEOPLE[0]}
    one.exchange.set_offline(PEOPLE[0], hidden=False)
    await net.settle()
    assert one.online == other.online == {PEOPLE[0]}
    other.exchange.set_offline(PEOPLE[0], hidden=False)
    await net.settle()
    assert one.online == other.online == set()
    assert one.offline_at == other.offline_at
    assert one.offline_at[PEOPLE[0]] is not None


async def test_no_time_is_sent_of_users_who_hide_it() -> None:
    net, (one, other) = network()
    one.exchange.set_online(PEOPLE[0])
    await net.settle()
    one.exchange.set_offline(PEOPLE[0], hidden=True)
    await net.settle()
    assert other.offline_at == one.offline_at == {PEOPLE[0]: None}


async def test_the_users_of_a_gateway_that_dies_are_offline_within_half_a_minute_but_for_those_elsewhere() -> None:
    net, (one, other, third) = network(3)
    for user_id in PEOPLE[:3]:
        one.exchange.set_online(user_id)
    await net.settle()
    one.lives = False
    other.exchange.set_online(PEOPLE[0])
    alive = EXPIRES_SECONDS - HEARTBEAT_SECONDS - 1
    await net.settle(alive)
    assert third.online == set(PEOPLE[:3])
    await net.settle(30 - alive)
    assert other.online == third.online == {PEOPLE[0]}
    assert not third.exchange.knows(one.exchange.me)
    assert sorted([other.exchange.is_first, third.exchange.is_first]) == [False, True]


async def test_a_new_gateway_learns_of_all_online_users() -> None:
    net, (one,) = network(1)
    one.exchange.set_online(PEOPLE[0])
    await net.settle()
    late = net.add()
    await net.settle()
    assert late.online == {PEOPLE[0]}


async def test_a_gateway_that_receives_nothing_because_it_is_cut_off_or_was_suspended_declares_no_other_dead() -> None:
    net, (one, other) = network()
    one.exchange.set_online(PEOPLE[0])
    await net.settle()
    other.connected = False
    await net.settle(3 * EXPIRES_SECONDS)
    assert other.online == {PEOPLE[0]}
    other.connected = True
    await net.settle()
    net.now += 10 * EXPIRES_SECONDS
    await other.exchange.step()
    assert other.online == {PEOPLE[0]}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["online", "offline", "hide"]), st.integers(0, 2), st.sampled_from(PEOPLE)),
        st.tuples(st.sampled_from(["cut", "join", "step"]), st.integers(0, 2), st.just("")),
    ),
    max_size=40,
)


async def run_steps(steps: list[tuple[str, int, str]]) -> None:
    net, gateways = network(3)
    local_users: list[set[str]] = [set(), set(), set()]
    for step, number, user_id in steps:
        gateway = gateways[number]
        match step:
            case "online":
                local_users[number].add(user_id)
                gateway.exchange.set_online(user_id)
            case "offline" | "hide":
                local_users[number].discard(user_id)
                gateway.exchange.set_offline(user_id, hidden=step == "hide")
            case "cut" | "join":
                gateway.connected = step == "join"
            case _:
                net.now += 0.5
                await gateway.exchange.step()
    for gateway in gateways:
        gateway.connected = True
    await net.settle(3 * EXPIRES_SECONDS)
    for gateway in gateways:
        assert gateway.online == set.union(*local_users)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_all_gateways_agree_in_the_end_whatever_messages_are_lost(steps: list[tuple[str, int, str]]) -> None:
    asyncio.run(run_steps(steps))


async def test_changes_between_two_steps_are_one_message() -> None:
    net, (one, other) = network()
    await net.settle()
    people = [new_id() for _ in range(2_000)]
    net.sent.clear()
    for user_id in people:
        one.exchange.set_online(user_id)
    await one.exchange.step()
    assert len(other.online) == 2_000
    ((_, size),) = net.sent
    assert size <= 16 * 2_000 + 100
    # Users who come and go between two steps cost nothing.
    net.sent.clear()
    for user_id in people:
        one.exchange.set_offline(user_id, hidden=False)
        one.exchange.set_online(user_id)
    await one.exchange.step()
    assert net.sent == []
