"""CPU time of each step of sending a message, each step alone, in microseconds.

In one process, the rest played by something that answers at once; the least of some rounds, so that a busy machine
does not show. `--profile` says where the time of one step goes.
"""

import argparse
import asyncio
import atexit
import contextlib
import cProfile
import pstats
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any, cast

import jwt
import msgspec
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from contracts.envelope import Provenance, encode, seal
from contracts.events.message import MessageSent
from contracts.messages import SentMessage
from contracts.positions import Position
from contracts.rpc.vestnik.messaging.v1 import (
    MessagingServiceBase,
    MessagingServiceStub,
    SendMessageRequest,
    SendMessageResponse,
)
from contracts.subjects import CONTACT, MESSAGING, conversation
from contracts.values.ids import new_id, pair_id
from infra.embedded.ports import free_port
from infra.rpc.call_context import Call, enter
from infra.rpc.client import Client
from infra.rpc.server import RpcServer
from infra.security import position_keys
from infra.security.key_lifecycle import KeyTerms
from infra.security.secrets import Secrets
from infra.settings import Settings
from services.gateway.app import create_app
from services.gateway.consistency.encrypted_positions import SealedPositions
from services.gateway.consistency.user_positions import LatestPositions
from services.gateway.http.scope_extensions import CAN_WRITE, MORE
from services.gateway.limits.concurrency_limit import ConcurrencyLimiter
from services.gateway.limits.rate_limiter import RateLimiter
from services.gateway.live.delivery import LiveDelivery, SubscriptionRequest
from services.gateway.live.fanout import STREAMS
from services.gateway.live.friend_index import FriendIndex
from services.gateway.live.hub import Hub
from services.gateway.observability.live_metrics import LiveMetrics
from services.gateway.observability.metrics import Metrics
from services.gateway.route_table import ENDPOINTS
from services.gateway.routes.live.sse import ServerSentEvents
from services.gateway.security.access_tokens import AUDIENCE, AccessTokens, Principal
from services.gateway.server.http_protocol import BoundedProtocol
from services.messaging.clients import FriendshipCache
from services.messaging.commands import SendCommands
from services.messaging.server import MessagingServer
from streams.jetstream.client import Client as NatsClient
from streams.message import Message as Stored
from streams.reader import ReadBatch
from tests.bench.report import machine

AT_ONCE = 64
ROUNDS = 7
ANNA, BORIS = sorted((new_id(), new_id()))
TEXT = "How are you? " * 8

Step = Callable[[int], Awaitable[None]]


class Unchanging:
    """Token keys, and a session check in which no session has ended."""

    generation = 1
    alive = True

    def __init__(self) -> None:
        key = Ed25519PrivateKey.generate()
        public = {**jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "k", "alg": "EdDSA"}
        self._key = jwt.PyJWK(public)
        now = int(time.time())
        claims = {"iss": "us", "aud": AUDIENCE, "sub": ANNA, "sid": new_id(), "jti": "j", "iat": now, "exp": now + 900}
        self.token = jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": "k"})

    def reload_if_changed(self) -> None:
        pass

    def find(self, key_id: str) -> jwt.PyJWK | None:
        return self._key

    def __contains__(self, session_id: object) -> bool:
        return False


def answered(request: SendMessageRequest) -> SendMessageResponse:
    return SendMessageResponse(
        message=msgspec.json.encode(
            SentMessage(
                message_id=new_id(),
                conversation_id=pair_id(request.sender_id, request.recipient_id),
                sequence=7,
                sender_id=request.sender_id,
                text=request.text,
                sent_at="2026-01-31T12:00:00.000Z",
            )
        ),
        created=True,
        position=Position.at(MESSAGING, 123_456).encode(),
    )


@cache
def position_cipher() -> SealedPositions:
    folder = tempfile.TemporaryDirectory(prefix="vestnik-bench-")
    atexit.register(folder.cleanup)
    position_keys.FILES.make(Path(folder.name), datetime.now(UTC))
    return SealedPositions(position_keys.PositionKeys(Path(folder.name), KeyTerms.of(Settings())))


class Played:
    """Stubs for the parts of the gateway that are not measured."""

    def __init__(self, *, limited: bool) -> None:
        self.settings = Settings()
        self.keys = Unchanging()
        self.remotes = self
        self.messaging = self
        self.stub = self
        self.send_message = None
        self.tokens = AccessTokens(self.keys, issuer="us", revoked=self.keys)
        self.positions = LatestPositions()
        self.limiter = RateLimiter(b"k" * 32) if limited else None
        self.load = ConcurrencyLimiter()
        self.metrics = Metrics()
        self.live = self
        self.sealed = position_cipher()
        self._reached = Position({CONTACT: 1_000, MESSAGING: 123_000})

    def positions_reached(self) -> Position:
        return self._reached

    async def command(
        self, method: object, request: SendMessageRequest, *, repeatable: bool, about: str
    ) -> SendMessageResponse:
        return answered(request)


class _Live:
    def __init__(self, reached: Position) -> None:
        self._reached = reached

    def positions(self) -> Position:
        return self._reached


def made_app(*, limited: bool = False) -> tuple[Starlette, str]:
    played = Played(limited=limited)
    cast(Any, played).live = _Live(played.positions_reached())
    return create_app(ENDPOINTS, cast(Any, played)), played.keys.token


def body() -> bytes:
    return msgspec.json.encode({"text": TEXT, "client_message_id": new_id()})


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


class Wire(asyncio.Transport):
    """A transport that discards what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0

    def write(self, data: object) -> None:
        self.written += 1

    def get_extra_info(self, name: str, default: object = None) -> object:
        return {"peername": ("127.0.0.1", 5000), "sockname": ("127.0.0.1", 8080)}.get(name, default)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


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


class Quiet:
    """Stubs around live delivery: sessions that do not end, and no friends."""

    def __init__(self) -> None:
        self.friend_index = FriendIndex(self._friends)

    async def _friends(self, user_id: str, position: int) -> frozenset[str]:
        return frozenset()

    @contextlib.contextmanager
    def watch_session(self, session_id: str, tell: object) -> Iterator[None]:
        yield


@asynccontextmanager
async def delivery(devices: int = 1) -> AsyncIterator[Step]:
    """The gateway's path from the stored event to the bytes of its two users' live streams, one for each device."""
    nothing, quiet = cast(Any, None), Quiet()
    live = LiveDelivery(
        NatsClient(),
        nothing,
        nothing,
        revocations=cast(Any, quiet),
        session_seconds=1e9,
        metrics=LiveMetrics(CollectorRegistry()),
        keys=Unchanging(),
        sealed=(sealed := position_cipher()),
    )
    live._hub = Hub(cast(Any, quiet.friend_index), seal=sealed.seal_sequences)
    for stream in STREAMS:
        live.on_start(stream, 0)
    got = 0

    async def send(message: Any) -> None:  # noqa: ANN401 - ASGI's
        nonlocal got
        got += message["body"].count(b"\nevent: ")

    users = [ANNA, BORIS] * devices
    gone = [asyncio.get_running_loop().create_future() for _ in users]

    def more(part: bytes) -> None:
        nonlocal got
        got += part.count(b"\nevent: ")

    scope: dict[str, Any] = {CAN_WRITE: lambda: True, MORE: more}
    streams = [
        asyncio.create_task(
            ServerSentEvents(
                live, SubscriptionRequest(Principal(user, new_id(), time.time() + 900, "k"), dict.fromkeys(STREAMS, 0))
            ).send(scope, ended, send)
        )
        for user, ended in zip(users, gone, strict=True)
    ]
    numbers = count(1)
    conversation_id = pair_id(ANNA, BORIS)

    async def step(wanted: int) -> None:
        nonlocal got
        before = got
        for number in islice(numbers, wanted):
            event = MessageSent(
                message_id=new_id(),
                sender_id=ANNA,
                recipient_id=BORIS,
                sequence=number,
                text=TEXT,
                client_message_id=new_id(),
            )
            envelope = seal(event, aggregate_id=conversation_id, version=number, provenance=Provenance())
            payload = encode(envelope)
            message = Stored(MESSAGING, number, conversation(conversation_id), payload)
            live.on_batch(MESSAGING, ReadBatch([message], number, 0))
            await asyncio.sleep(0)
        async with asyncio.timeout(30):
            while got - before < len(users) * wanted:
                await asyncio.sleep(0)

    while sum(queue.attached for queue in live._queues) < len(users):
        await asyncio.sleep(0.05)
    yield step
    live.stop()
    await asyncio.gather(*streams)


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
    found: dict[str, float] = {}
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
            found[name] = round(best / count * 1e6, 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", nargs="*", choices=[*STEPS, []], help="default: all of them")
    parser.add_argument("--count", type=int, default=1_024)
    parser.add_argument("--profile", action="store_true", help="show where the time of each goes instead")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = uvloop.run(measure(arguments.step or list(STEPS), arguments.count, profile=arguments.profile))
    if arguments.json:
        sys.stdout.write(msgspec.json.encode({"microseconds": found, "machine": machine()}).decode() + "\n")
        return
    for name, spent in found.items():
        sys.stdout.write(f"{name:<20}{spent:>10,.1f} µs\n")


if __name__ == "__main__":
    main()
