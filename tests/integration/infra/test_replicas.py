"""Replicas of a service that come and go under traffic, each a server on a loopback address of its own."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contracts.rpc.vestnik.auth.v1 import AuthServiceStub, GetUserRequest, GetUserResponse
from infra.embedded.ports import free_port
from infra.rpc import replicas as lookups
from infra.rpc.call_context import Call
from infra.rpc.client import Client
from infra.rpc.multiplex import channel as carrier
from infra.rpc.replicas import Replicas
from infra.rpc.server import RpcServer
from infra.security.secrets import Secrets
from infra.settings import Settings
from tests.conditions import until
from tests.integration.infra.auth_replica import Auth, known

ONE, TWO, THREE, FOUR = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"
LONG = 20.0


class Deployment:
    """Replicas at one port and the name that has their addresses."""

    def __init__(self, folder: Path) -> None:
        self.secrets = Secrets.create(folder)
        self.port = free_port()
        self.name: list[str] = []
        # By address: what was answered there, by user.
        self.answered: dict[str, Counter[str]] = {}
        self.servers: dict[str, RpcServer] = {}
        self.held: dict[str, asyncio.Event] = {}

    async def start(self, host: str) -> None:
        async def answer(message: GetUserRequest) -> GetUserResponse:
            self.answered[host][message.user_id] += 1
            if message.user_id in self.held:
                await self.held[message.user_id].wait()
            return await known(message)

        self.answered[host] = Counter()
        server = self.servers[host] = RpcServer("auth", [Auth(answer)], secrets=self.secrets)
        await server.start(host, self.port)
        server.set_ready(True)

    async def stop(self, host: str) -> None:
        await self.servers.pop(host).drain(LONG)

    async def look_up(self, host: str, port: int) -> list[str]:
        return self.name

    @asynccontextmanager
    async def client(self, *, carried: bool = True) -> AsyncIterator[Client]:
        replicas = Replicas([], [("auth", self.port)], look_up=self.look_up)
        client = Client(
            "auth", me="gateway", settings=Settings(), secrets=self.secrets, carried=carried, replicas=replicas
        )
        try:
            yield client
        finally:
            client.close()


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    deployment = Deployment(tmp_path / "secrets")
    yield deployment
    for host in [*deployment.servers]:
        await deployment.stop(host)


@pytest.fixture
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "_INTERVAL", 0.1)
    monkeypatch.setattr(lookups, "_SHORTEST_INTERVAL", 0.05)


async def ask(client: Client, user: str = "u", about: str | None = None) -> None:
    answer = await client.call(
        client.stub(AuthServiceStub).get_user,
        GetUserRequest(user_id=user),
        timeout=LONG,
        context=Call(request_id="r", actor=user),
        about=about,
    )
    assert answer.user is not None
    assert answer.user.user_id == user


@pytest.mark.parametrize("carried", [False, True], ids=["by itself", "carried"])
async def test_replicas_come_and_go_under_traffic_and_no_call_fails(deployment: Deployment, carried: bool) -> None:
    """None of the calls may be repeated once it was begun: what fails is seen."""
    over = asyncio.Event()

    async def call_on(client: Client, number: int) -> None:
        while not over.is_set():
            await ask(client, f"user-{number}", f"aggregate-{number}" if number % 2 else None)
            await asyncio.sleep(0.005)

    def calls(host: str) -> int:
        return deployment.answered[host].total()

    async def more_calls(*hosts: str) -> None:
        before = {host: calls(host) for host in hosts}
        await until(lambda: traffic.done() or all(calls(host) > before[host] + 10 for host in hosts))

    await deployment.start(ONE)
    deployment.name = [ONE]
    async with deployment.client(carried=carried) as client:
        traffic = asyncio.gather(*(call_on(client, number) for number in range(8)))
        await more_calls(ONE)
        await deployment.start(TWO)
        deployment.name = [ONE, TWO]
        await more_calls(ONE, TWO)
        # One stops before its address leaves the name, two after.
        await deployment.stop(ONE)
        await more_calls(TWO)
        await deployment.start(THREE)
        deployment.name = [TWO, THREE]
        await more_calls(TWO, THREE)
        deployment.name = [THREE]
        last = -1
        while last != calls(TWO) and not traffic.done():
            last = calls(TWO)
            await more_calls(THREE)
            await asyncio.sleep(0.2)
        await deployment.stop(TWO)
        await deployment.start(FOUR)
        deployment.name = [THREE, FOUR]
        await more_calls(THREE, FOUR)
        over.set()
        await traffic


async def test_a_failed_call_finds_the_replica_that_has_replaced_all_others(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "_INTERVAL", 1_000.0)
    await deployment.start(ONE)
    deployment.name = [ONE]
    async with deployment.client() as client:
        await ask(client)
        await deployment.stop(ONE)
        await deployment.start(TWO)
        deployment.name = [TWO]
        await ask(client)
    assert deployment.answered[TWO] == {"u": 1}


@pytest.mark.usefixtures("_often")
async def test_a_replica_that_leaves_the_name_answers_what_it_has_and_gets_nothing_new(deployment: Deployment) -> None:
    deployment.held["slow"] = asyncio.Event()
    await deployment.start(ONE)
    deployment.name = [ONE]
    async with deployment.client() as client:
        slow = asyncio.create_task(ask(client, "slow"))
        await until(lambda: deployment.answered[ONE]["slow"] == 1)
        await deployment.start(TWO)
        deployment.name = [TWO]

        async def is_left() -> bool:
            before = deployment.answered[ONE].total()
            for _ in range(10):
                await ask(client)
            return deployment.answered[ONE].total() == before

        async with asyncio.timeout(60):
            while not await is_left():
                await asyncio.sleep(0.01)
        deployment.held["slow"].set()
        await slow
        # It comes back, on the same connection.
        deployment.name = [ONE, TWO]
        async with asyncio.timeout(60):
            while await is_left():
                await asyncio.sleep(0.01)


@pytest.mark.usefixtures("_often")
async def test_no_call_waits_for_a_new_replica_that_accepts_connections_and_says_nothing(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier, "OPENING", 1_000.0)
    reached = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await reader.read()
        writer.close()

    await deployment.start(ONE)
    deployment.name = [ONE]
    async with deployment.client() as client, await asyncio.start_server(say_nothing, TWO, deployment.port):
        await ask(client)
        deployment.name = [ONE, TWO]
        async with asyncio.timeout(60):
            while not reached.is_set():
                await ask(client)
        for number in range(20):
            await ask(client, about=f"aggregate-{number}")


@pytest.mark.usefixtures("_often")
async def test_only_the_aggregates_that_a_new_replica_takes_over_change_their_replica(deployment: Deployment) -> None:
    users = [f"user-{number}" for number in range(60)]

    async def homes(client: Client) -> dict[str, str]:
        for counts in deployment.answered.values():
            counts.clear()
        for user in users:
            await ask(client, user, user)
        return {user: host for host, counts in deployment.answered.items() for user in counts}

    for host in (ONE, TWO):
        await deployment.start(host)
    deployment.name = [ONE, TWO]
    async with deployment.client() as client, deployment.client() as other:
        # A first call may be made before the name has been looked up; its retry goes to any replica.
        await ask(client)
        await ask(other)
        before = await homes(client)
        assert set(before.values()) == {ONE, TWO}
        assert await homes(other) == before, "every client chooses alike"
        await deployment.start(THREE)
        deployment.name = [ONE, TWO, THREE]
        async with asyncio.timeout(60):
            while THREE not in set((await homes(client)).values()):
                await asyncio.sleep(0.01)
        after = await homes(client)
    moved = {user for user in users if after[user] != before[user]}
    assert {after[user] for user in moved} == {THREE}
    assert 5 < len(moved) < 40, "about a third"


async def test_a_client_finds_the_replicas_of_the_name_in_its_settings(deployment: Deployment) -> None:
    await deployment.start(ONE)
    settings = Settings(addresses={"auth": f"dns:///localhost:{deployment.port}"})
    client = Client("auth", me="gateway", settings=settings, secrets=deployment.secrets, carried=True)
    try:
        # The first call waits until the name has been looked up.
        await ask(client)
    finally:
        client.close()
