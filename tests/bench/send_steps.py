"""CPU time of each step of sending a message, each step alone, in microseconds.

In one process, the rest played by something that answers at once; the least of some rounds, so that a busy machine
does not show. `--profile` says where the time of one step goes.
"""

import argparse
import asyncio
import contextlib
import cProfile
import pstats
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, cast

import msgspec
import uvloop

from contracts.positions import Position
from contracts.rpc.vestnik.messaging.v1 import (
    MessagingServiceBase,
    MessagingServiceStub,
    SendMessageRequest,
    SendMessageResponse,
)
from contracts.subjects import MESSAGING
from contracts.values.ids import new_id, pair_id
from infra.embedded.ports import free_port
from infra.rpc.call_context import Call, enter
from infra.rpc.client import Client
from infra.rpc.server import RpcServer
from infra.security.secrets import Secrets
from infra.settings import Settings
from services.gateway.server.http_protocol import BoundedProtocol
from services.messaging.clients import FriendshipCache
from services.messaging.commands import SendCommands
from services.messaging.server import MessagingServer
from tests.bench.delivery_step import delivery
from tests.bench.played_gateway import ANNA, BORIS, TEXT, Step, Wire, answered, body, made_app
from tests.bench.report import machine

AT_ONCE = 64
ROUNDS = 7


@asynccontextmanager
async def route() -> AsyncIterator[Step]:
    """The gateway from the parsed request to the written answer, without the call to messaging."""
    app, token = made_app()
    path = f"/v1/conversations/{BORIS}/messages"
    headers = [
        (b"host", b"127.0.0.1:8080"),
        (b"authorization", b"Bearer " + token.encode()),
        (b"content-type", b"application/json"),
        (b"content-length", b"200"),
    ]

    async def one() -> None:
        statuses: list[int] = []
        content = body()

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Any) -> None:  # noqa: ANN401 - ASGI's
            if "status" in message:
                statuses.append(message["status"])

        scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 5000),
            "scheme": "http",
            "server": ("127.0.0.1", 8080),
            "root_path": "",
            "state": {},
        }
        await app(scope, cast(Any, receive), send)
        assert statuses == [201], statuses

    async def step(count: int) -> None:
        for _ in range(count):
            await one()

    yield step


@asynccontextmanager
async def http() -> AsyncIterator[Step]:
    """As `route`, with parsing and serializing: from the bytes of a request to the bytes of its answer."""
    import uvicorn
    from uvicorn.server import ServerState

    app, token = made_app()
    config = uvicorn.Config(
        app, lifespan="off", log_config=None, access_log=False, server_header=False, proxy_headers=False
    )
    config.load()
    protocol = BoundedProtocol(config=config, server_state=ServerState(), app_state={})
    wire = Wire()
    protocol.connection_made(wire)

    async def step(count: int) -> None:
        for _ in range(count):
            content = body()
            head = (
                f"POST /v1/conversations/{BORIS}/messages HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
                f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(content)}\r\n\r\n"
            )
            protocol.data_received(head.encode() + content)
            while not protocol.cycle.response_complete:
                await asyncio.sleep(0)

    yield step
    protocol.connection_lost(None)


class Answering(MessagingServiceBase):
    async def send_message(self, message: SendMessageRequest) -> SendMessageResponse:
        return answered(message)


@asynccontextmanager
async def calls(*, carried: bool) -> AsyncIterator[Step]:
    """64 concurrent calls over TCP; includes the work of client and server."""
    with tempfile.TemporaryDirectory() as folder:
        secrets = Secrets.create(Path(folder) / "secrets")
        port = free_port()
        server = RpcServer("messaging", [Answering()], secrets=secrets)
        await server.start("127.0.0.1", port)
        settings = Settings(addresses={"messaging": f"127.0.0.1:{port}"})
        client = Client("messaging", me="gateway", settings=settings, secrets=secrets, carried=carried)
        stub = client.stub(MessagingServiceStub)

        async def one(count: int) -> None:
            enter(Call(request_id=new_id(), actor=ANNA, position=Position.at(MESSAGING, 123_456)))
            for _ in range(count):
                request = SendMessageRequest(sender_id=ANNA, recipient_id=BORIS, text=TEXT, client_message_id=new_id())
                await client.call(stub.send_message, request, timeout=12.0, idempotent=True)

        async def step(count: int) -> None:
            await asyncio.gather(*(one(count // AT_ONCE) for _ in range(AT_ONCE)))

        yield step
        client.close()
        await server.drain(1.0)


class AtOnce:
    """A log that acknowledges every append immediately."""

    def __init__(self) -> None:
        self._sequence = 0

    async def append_together(self, appends: list[object]) -> list[int]:
        first = self._sequence + 1
        self._sequence += len(appends)
        return list(range(first, self._sequence + 1))

    async def last_stored(self, subject: str) -> None:
        return None

    async def read(self, subject: str, **_: object) -> list[object]:
        return []


class Friends:
    def __init__(self, friends: list[str]) -> None:
        self._remembered = FriendshipCache()
        self._remembered.follows(0)
        for friend in friends:
            self._remembered.remember(pair_id(ANNA, friend), 0)

    async def require_present(self, user_id: str) -> None:
        pass

    async def require_friends(self, user_id: str, peer_id: str, position: Position) -> None:
        self._remembered.reached(1 << 40)
        assert self._remembered.contains(pair_id(user_id, peer_id), position)


@asynccontextmanager
async def command() -> AsyncIterator[Step]:
    """Messaging from the received call to its answer, without the append itself."""
    nothing = cast(Any, None)
    friends = [new_id() for _ in range(1_000)]
    sending = SendCommands(cast(Any, AtOnce()), cast(Any, Friends(friends)), nothing, nothing, nothing)
    server = MessagingServer(
        sending=sending,
        seeing=nothing,
        changing=nothing,
        reading=nothing,
        messages=nothing,
        notifications=nothing,
        pages=nothing,
        settings=nothing,
        drafts=nothing,
        search=nothing,
        copies=nothing,
        missed=nothing,
        log=nothing,
        aged=nothing,
        closed=nothing,
    )
    turns = cycle(friends)

    async def step(count: int) -> None:
        for _ in range(count):
            enter(Call(request_id=new_id(), actor=ANNA, position=Position.at(MESSAGING, 1)))
            await server.send_message(
                SendMessageRequest(sender_id=ANNA, recipient_id=next(turns), text=TEXT, client_message_id=new_id())
            )

    yield step


STEPS: dict[str, Callable[[], contextlib.AbstractAsyncContextManager[Step]]] = {
    "route": route,
    "http": http,
    "call-by-itself": lambda: calls(carried=False),
    "call-carried": lambda: calls(carried=True),
    "command": command,
    "delivery": delivery,
    "delivery-100": lambda: delivery(50),
    "delivery-1000": lambda: delivery(500),
}


async def measure(names: list[str], count: int, *, profile: bool) -> dict[str, float]:
    microseconds: dict[str, float] = {}
    for name in names:
        async with STEPS[name]() as step:
            await step(AT_ONCE)
            if profile:
                with cProfile.Profile() as profiler:
                    await step(count)
                pstats.Stats(profiler, stream=sys.stdout).sort_stats("cumulative").print_stats(70)
                continue
            best = float("inf")
            for _ in range(ROUNDS):
                begin = time.process_time()
                await step(count)
                best = min(best, time.process_time() - begin)
            microseconds[name] = round(best / count * 1e6, 1)
    return microseconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", nargs="*", choices=[*STEPS, []], help="default: all of them")
    parser.add_argument("--count", type=int, default=1_024)
    parser.add_argument("--profile", action="store_true", help="show where the time of each goes instead")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    measured = uvloop.run(measure(arguments.step or list(STEPS), arguments.count, profile=arguments.profile))
    if arguments.json:
        sys.stdout.write(msgspec.json.encode({"microseconds": measured, "machine": machine()}).decode() + "\n")
        return
    for name, spent in measured.items():
        sys.stdout.write(f"{name:<20}{spent:>10,.1f} µs\n")


if __name__ == "__main__":
    main()
