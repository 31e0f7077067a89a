"""Access tokens at the gateway: whose are good, until when, and how soon a revoked one is not."""

import asyncio
import time
from pathlib import Path

import msgspec
from nats.aio.client import Client as NATS

from contracts import subjects
from contracts.envelope import Provenance, encode, seal
from contracts.events.session import SessionRevoked
from contracts.rpc.vestnik.auth.v1 import GetUserResponse, User
from contracts.values.ids import new_id
from infra.embedded.nats_server import NatsServer
from tests.conditions import until
from tests.integration.gateway.conftest import Harness, ready, running_gateway

# Seconds between two requests of a loop: fewer than the limit of reads allows.
_EVERY = 0.02
ACCOUNT = GetUserResponse(user=User(user_id=new_id(), username="anna", email="a@example.org"))


async def status(harness: Harness, token: str) -> int:
    harness.script.answers = {"get_user": ACCOUNT}
    return (await harness.client.get("/v1/users/me", headers={"authorization": f"Bearer {token}"})).status_code


async def test_only_our_own_unexpired_tokens_are_good(harness: Harness) -> None:
    assert await status(harness, harness.token()) == 200
    assert await status(harness, harness.token(expires_in=-1)) == 401
    assert await status(harness, harness.token(issuer="http://elsewhere")) == 401
    assert await status(harness, harness.token()[:-4] + "AAAA") == 401
    assert await status(harness, "no.token.atall") == 401
    assert await status(harness, "x" * 5000) == 401


async def test_a_remembered_token_runs_out_too(harness: Harness) -> None:
    token = harness.token(expires_in=6)
    assert await status(harness, token) == 200
    deadline = time.monotonic() + 60
    while await status(harness, token) == 200:
        await asyncio.sleep(_EVERY)
        assert time.monotonic() < deadline
    assert await status(harness, token) == 401


async def test_a_revoked_session_is_refused_within_a_second(harness: Harness) -> None:
    token = harness.token()
    assert await status(harness, token) == 200

    event = SessionRevoked(user_id=harness.user_id, reason="refresh_token_reused")
    await harness.append(subjects.session(harness.session_id), harness.session_id, event)

    # Whoever asks later than that; an answer may take its time.
    since = asked = time.monotonic()
    while await status(harness, token) == 200:
        await asyncio.sleep(_EVERY)
        assert asked - since < 1.0
        asked = time.monotonic()
    assert await status(harness, harness.token(session_id=new_id())) == 200


async def test_a_gateway_that_starts_knows_what_was_revoked_before(tmp_path: Path, streams: NATS) -> None:
    async with running_gateway(tmp_path, streams) as first:
        event = SessionRevoked(user_id=first.user_id, reason="logout")
        await first.append(subjects.session(first.session_id), first.session_id, event)
        token = first.token()

    async with running_gateway(tmp_path, streams) as second:
        assert await status(second, token) == 401


async def test_every_gateway_hears_of_an_end_from_the_stream(tmp_path: Path, streams: NATS) -> None:
    async with (
        running_gateway(tmp_path, streams) as one,
        running_gateway(tmp_path, streams, public_url=one.settings.issuer) as other,
    ):
        token = one.token()
        assert [await status(gateway, token) for gateway in (one, other)] == [200, 200]
        event = SessionRevoked(user_id=one.user_id, reason="logout")
        await one.append(subjects.session(one.session_id), one.session_id, event)
        deadline = time.monotonic() + 60
        for gateway in (one, other):
            while await status(gateway, token) == 200:
                await asyncio.sleep(_EVERY)
                assert time.monotonic() < deadline
            assert await status(gateway, token) == 401


async def test_a_watcher_of_a_session_receives_its_end_and_reason(harness: Harness) -> None:
    revocations, reasons = harness.context.revocations, list[tuple[str, str | None]]()
    other = new_id()
    with (
        revocations.watch_session(harness.session_id, lambda why: reasons.append(("one", why))),
        revocations.watch_session(harness.session_id, lambda why: reasons.append(("two", why))),
        revocations.watch_session(other, lambda why: reasons.append(("other", why))),
    ):
        event = SessionRevoked(user_id=harness.user_id, reason="password_changed")
        await harness.append(subjects.session(harness.session_id), harness.session_id, event)
        await until(lambda: len(reasons) >= 2)
    assert sorted(reasons) == [("one", "password_changed"), ("two", "password_changed")]
    with revocations.watch_session(harness.session_id, lambda why: reasons.append(("late", why))):
        assert reasons[-1] == ("late", "password_changed")


async def test_a_revocation_of_a_shape_to_come_still_ends_the_session(harness: Harness) -> None:
    token = harness.token()
    assert await status(harness, token) == 200
    event = SessionRevoked(user_id=harness.user_id, reason="logout")
    sealed = seal(event, aggregate_id=harness.session_id, version=1, provenance=Provenance())
    later = msgspec.structs.replace(sealed, schema=99, data=msgspec.Raw(b"{}"))
    await harness.nats.jetstream().publish(subjects.session(harness.session_id), encode(later))
    deadline = time.monotonic() + 60
    while await status(harness, token) == 200:
        await asyncio.sleep(_EVERY)
        assert time.monotonic() < deadline


async def test_a_gateway_that_hears_nothing_of_sessions_refuses_rather_than_risks(
    tmp_path: Path, streams: NATS, nats_server: NatsServer
) -> None:
    reasons: list[str | None] = []
    async with running_gateway(tmp_path, streams, revocation_silence_seconds=5.0) as harness:
        token = harness.token()
        assert await status(harness, token) == 200

        with harness.context.revocations.watch_session(harness.session_id, reasons.append):
            nats_server.kill()
            deadline = time.monotonic() + 60
            while await status(harness, token) == 200:
                await asyncio.sleep(_EVERY)
                assert time.monotonic() < deadline
            assert await status(harness, token) == 503
            assert "revocations" in (await harness.client.get("/readyz")).json()["missing"]
            await until(lambda: reasons == [None])

        await nats_server.start()
        await ready(harness.client)
        assert await status(harness, token) == 200
