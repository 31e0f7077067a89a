"""Access at the profile service's REST edge: public reads for all, the rest only for the gateway with its token."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import httpx
import msgspec
import pytest

from contracts.errors import VestnikError
from contracts.positions import Position
from contracts.subjects import AUTH
from contracts.values.ids import new_id
from infra.embedded.ports import free_port
from infra.provisioning.certificates import make_certificates
from infra.rpc.call_context import Call
from infra.rpc.replicas import Replicas
from infra.rpc.service_tokens import Issuer, Verifier
from infra.rpc.tls import HTTP, client_side, server_side
from infra.runtime.sockets import open_listener
from infra.security.secrets import Secrets
from infra.settings import Settings
from services.gateway.cache import profile_reader
from services.gateway.cache.profile_cache import ProfileCache
from services.gateway.cache.profile_invalidation import ProfileInvalidation
from services.gateway.cache.profile_reader import ProfileReader
from services.gateway.observability.metrics import Metrics
from services.profile.commands import ProfileCommands
from services.profile.domain import PublicProfile
from services.profile.rest import profile_app, serve_rest
from tests.recording_tracer import SAMPLED, UNSAMPLED, recording

ANNA = new_id()


class Commands:
    """Shows one profile to everybody, and remembers who asked."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    async def get(self, user_id: str, call: Call) -> tuple[PublicProfile, Position]:
        self.calls.append(call)
        shown = PublicProfile(
            user_id=user_id,
            username="anna",
            display_name="Anna",
            bio="",
            avatar_url="",
            verified=True,
            updated_at=datetime(2026, 1, 31, tzinfo=UTC),
        )
        return shown, Position()


class NoProfileChanges:
    """A source of profile changes that has none: nothing is cached."""

    alive = False
    position = Position()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    Secrets.create(tmp_path / "secrets")
    make_certificates(tmp_path / "secrets")
    return Settings(data_dir=tmp_path)


@asynccontextmanager
async def serving(settings: Settings, certificate: str = "profile") -> AsyncIterator[tuple[Commands, int]]:
    commands, stop = Commands(), asyncio.Event()
    listener = open_listener("127.0.0.1", 0, shared=False)
    app = profile_app(cast(ProfileCommands, commands), Verifier("profile", Secrets.load(settings.secrets_path)))
    context = server_side(settings, certificate, HTTP)
    task = asyncio.create_task(serve_rest(app, listener, stop, 1, context))
    try:
        yield commands, listener.getsockname()[1]
    finally:
        stop.set()
        await task


@asynccontextmanager
async def reading(
    settings: Settings, *ports: int, me: str = "gateway", token_of: str = "gateway"
) -> AsyncIterator[ProfileReader]:
    issuer = Issuer(token_of, Secrets.load(settings.secrets_path))
    tls = client_side(settings, me, "profile", HTTP)
    news = cast(ProfileInvalidation, NoProfileChanges())
    replicas = Replicas([("127.0.0.1", port) for port in ports])
    async with ProfileReader(replicas, ProfileCache(), news, Metrics(), issuer=issuer, tls=tls) as reads:
        yield reads


def call(actor: str | None = None) -> Call:
    return Call(request_id="r", actor=actor, position=Position.at(AUTH, 7))


@pytest.mark.parametrize("tls", ["off", "on"])
async def test_the_gateway_reads_in_the_owners_name_and_in_nobody_elses(settings: Settings, tls: str) -> None:
    settings = msgspec.structs.replace(settings, rpc_tls=tls)
    async with serving(settings) as (commands, port), reading(settings, port) as reads:
        for actor in (ANNA, new_id(), None):
            response = await reads.get(ANNA, call(actor))
            assert b'"anna"' in response.body
    assert [received.actor for received in commands.calls] == [ANNA, None, None]
    assert {
        (received.caller, received.request_id, received.position.sequence(AUTH)) for received in commands.calls
    } == {("gateway", "r", 7)}


async def test_a_replica_that_hangs_is_left_for_another(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_reader, "_SECONDS", 600.0)
    monkeypatch.setattr(profile_reader, "_SLOW_SECONDS", 600.0)
    async with serving(settings) as (commands, port):
        # It accepts connections and answers nothing.
        with socket.create_server(("127.0.0.1", 0), backlog=64) as hanging:
            async with reading(settings, hanging.getsockname()[1], port) as reads, asyncio.timeout(60):
                for _ in range(8):
                    await reads.get(ANNA, call())
                monkeypatch.setattr(profile_reader, "_PATIENCE", 600.0)
                # From then on it is not asked first.
                for _ in range(8):
                    await reads.get(ANNA, call())
    assert len(commands.calls) == 16


async def test_who_shows_another_partys_token_or_certificate_or_none_reads_nothing(settings: Settings) -> None:
    settings = msgspec.structs.replace(settings, rpc_tls="on")
    plain = msgspec.structs.replace(settings, rpc_tls="off")
    async with serving(settings) as (commands, port):
        async with reading(settings, port, me="contact") as reads:
            with pytest.raises(VestnikError) as refused:
                await reads.get(ANNA, call())
            assert refused.value.code == "unavailable"
        async with reading(plain, port) as reads:
            with pytest.raises(VestnikError) as unreachable:
                await reads.get(ANNA, call())
            assert unreachable.value.code == "unavailable"
    assert commands.calls == []


async def test_another_service_cannot_pass_for_profile_over_rest(settings: Settings) -> None:
    settings = msgspec.structs.replace(settings, rpc_tls="on")
    async with serving(settings, certificate="contact") as (commands, port), reading(settings, port) as reads:
        with pytest.raises(VestnikError) as refused:
            await reads.get(ANNA, call())
        assert refused.value.code == "unavailable"
    assert commands.calls == []


async def test_a_token_that_is_not_the_gateways_for_profile_reads_nothing(settings: Settings) -> None:
    secrets = Secrets.load(settings.secrets_path)
    wrong = {
        "Bearer nonsense": 401,
        "": 401,
        f"Basic {Issuer('gateway', secrets).token('profile')}": 401,
        f"Bearer {Issuer('gateway', secrets).token('contact')}": 401,
        f"Bearer {Issuer('contact', secrets).token('profile')}": 403,
    }
    async with (
        serving(settings) as (commands, port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http,
    ):
        for authorization, status in wrong.items():
            answer = await http.get(f"/profiles/{ANNA}", headers={"Authorization": authorization})
            assert (answer.status_code, commands.calls) == (status, [])
        # What names a user without a token names nobody.
        await http.get(f"/profiles/{ANNA}", headers={"Vestnik-Actor": ANNA})
    assert [(received.actor, received.caller) for received in commands.calls] == [(None, "rest")]


async def test_a_read_has_a_span_at_both_ends_if_its_trace_is_sampled(settings: Settings) -> None:
    async with serving(settings) as (commands, port), reading(settings, port) as reads, httpx.AsyncClient() as http:
        with recording() as spans:
            for traceparent in (SAMPLED, UNSAMPLED):
                await reads.get(ANNA, msgspec.structs.replace(call(), traceparent=traceparent))
            response = await http.get(f"http://127.0.0.1:{port}/profiles/{ANNA}", headers={"traceparent": "x1"})
    assert response.status_code == 200
    sent, served = spans
    assert (sent.name, served.name) == ("GET /profiles/{user_id}", "GET /profiles/{user_id}")
    assert (sent.parent, served.parent) == (SAMPLED, sent.traceparent)
    assert (sent.error, served.error, served.attributes["http.response.status_code"]) == ("", "", 200)
    assert [received.traceparent for received in commands.calls] == [served.traceparent, UNSAMPLED, None]


async def test_the_span_of_a_read_that_reaches_nobody_ends_too(settings: Settings) -> None:
    async with reading(settings, free_port()) as reads:
        with recording() as spans, pytest.raises(VestnikError):
            await reads.get(ANNA, msgspec.structs.replace(call(), traceparent=SAMPLED))
    assert spans
    assert {span.error for span in spans} == {"ClientConnectorError"}
