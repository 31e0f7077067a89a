"""A gateway on a real socket, with scripted services on real servers, and streams in a real NATS."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import httpx
import jwt
import pytest_asyncio
from nats.aio.client import Client as NATS
from starlette.applications import Starlette

from contracts.envelope import Provenance, encode, seal
from contracts.events.event import Event
from contracts.values.ids import new_id
from infra.embedded.ports import free_port
from infra.rpc.server import RpcServer, Servable
from infra.security.key_lifecycle import KeyTerms
from infra.security.secrets import Secrets
from infra.settings import Settings
from services.gateway.consistency.encrypted_positions import SealedPositions
from services.gateway.context import GatewayContext
from services.gateway.main import gateway
from services.gateway.observability.metrics import Metrics
from services.gateway.server.uvicorn_server import listening_socket, serve
from tests.integration.gateway.scripted import Auth, Contact, Messaging, Notary, Profile, ProfileRest, Script, Session


@dataclass
class Harness:
    """The running gateway with its client, services and streams."""

    settings: Settings
    secrets: Secrets
    nats: NATS
    app: Starlette
    client: httpx.AsyncClient
    script: Script
    rest: ProfileRest
    servers: dict[str, RpcServer]
    user_id: str = field(default_factory=new_id)
    session_id: str = field(default_factory=new_id)

    def token(self, *, user_id: str = "", session_id: str = "", expires_in: float = 600, issuer: str = "") -> str:
        key_id, key = self.secrets.signing_keys(KeyTerms.of(self.settings)).current()
        now = time.time()
        claims = {
            "iss": issuer or self.settings.issuer,
            "aud": "vestnik",
            "sub": user_id or self.user_id,
            "sid": session_id or self.session_id,
            "jti": new_id(),
            "iat": int(now),
            "exp": int(now + expires_in),
        }
        return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": key_id})

    @property
    def context(self) -> GatewayContext:
        return cast(GatewayContext, self.app.state.context)

    @property
    def sealed(self) -> SealedPositions:
        """Positions as this gateway's clients get them."""
        return SealedPositions(self.secrets.position_keys(KeyTerms.of(self.settings)))

    @property
    def signed_in(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token()}"}

    async def append(self, subject: str, aggregate_id: str, event: Event) -> int:
        envelope = seal(event, aggregate_id=aggregate_id, version=1, provenance=Provenance())
        return (await self.nats.jetstream().publish(subject, encode(envelope))).seq


async def ready(client: httpx.AsyncClient, within: float = 60.0) -> None:
    """Waits until the gateway reports that it is ready."""
    async with asyncio.timeout(within):
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.02)


def running_gateway(tmp_path: Path, nats: NATS, **settings: object) -> AbstractAsyncContextManager[Harness]:
    return gateway_with({}, tmp_path, nats, settings)


@asynccontextmanager
async def gateway_with(
    reads: Mapping[str, Sequence[Servable]], tmp_path: Path, nats: NATS, settings: Mapping[str, object]
) -> AsyncIterator[Harness]:
    """`reads`: real servers of read models, by service."""
    secrets = Secrets.create(tmp_path / "secrets")
    kinds = {"auth": Auth, "session": Session, "profile": Profile, "contact": Contact, "messaging": Messaging}
    kinds["notary"] = Notary
    addresses = {name: f"127.0.0.1:{free_port()}" for name in (*kinds, "profile_rest")}
    made = Settings(**{"data_dir": tmp_path, "port": 0, "addresses": addresses, **settings})  # type: ignore[arg-type]  # by name
    script, rest = Script(), ProfileRest()
    # Of both servers, whose stops take a while: at the same time.
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        servers = {}
        for name, kind in kinds.items():
            server = RpcServer(name, [cast(Servable, kind(script)), *reads.get(name, ())], secrets=secrets)
            await server.start(*made.addresses_of(name)[0])
            server.set_ready(True)
            stack.push_async_callback(server.drain, 0.1)
            servers[name] = server
        rest_settings = Settings(port=made.addresses_of("profile_rest")[0][1])
        await stack.enter_async_context(_served(rest.app, rest_settings, stop))
        app = await stack.enter_async_context(gateway(made, secrets, nats, Metrics()))
        url = await stack.enter_async_context(_served(app, made, stop, app.state.context.live.stop))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=60))
        harness = Harness(made, secrets, nats, app, client, script, rest, servers)
        await ready(client)
        yield harness


@asynccontextmanager
async def _served(
    app: object, settings: Settings, stop: asyncio.Event, ending: Callable[[], None] = lambda: None
) -> AsyncIterator[str]:
    """Serves at the URL until the end, or until `stop` is set."""
    sock = listening_socket(settings)
    port = sock.getsockname()[1]
    task = asyncio.create_task(serve(app, sock, stop, drain_seconds=1, ending=ending))  # type: ignore[arg-type]  # any ASGI app
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stop.set()
        await task
        sock.close()


@pytest_asyncio.fixture
async def harness(tmp_path: Path, streams: NATS) -> AsyncIterator[Harness]:
    async with running_gateway(tmp_path, streams) as made:
        yield made
