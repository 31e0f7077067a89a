"""Gateways count together through a store, which may come and go and contain anything."""

import asyncio
import base64
from pathlib import Path

import httpx
import msgspec
import pytest
from nats.aio.client import Client as NATS

from contracts.rpc.vestnik.contact.v1 import GetFriendsResponse
from contracts.rpc.vestnik.messaging.v1 import SendMessageResponse
from contracts.subjects import LIMITS, LIMITS_FILTER, limit_uses
from contracts.values.ids import new_id
from infra.embedded.nats_server import NatsServer
from services.gateway.limits import policies as limits
from services.gateway.limits.shared_counts import Uses
from streams.jetstream.api import JetStream
from tests.integration.gateway.conftest import Harness, running_gateway
from tests.integration.gateway.limited_logins import LOGGED_IN, WRONG, burn, log_in, stop_the_clock


async def test_what_one_user_sends_in_a_day_is_bounded_on_all_gateways_and_reading_goes_on(
    tmp_path: Path, streams: NATS
) -> None:
    quota = {"daily_bytes": 400_000}
    async with (
        running_gateway(tmp_path, streams, **quota) as first,
        running_gateway(tmp_path, streams, **quota) as second,
    ):
        # Two bytes a second come back, in which a slow machine gains no message.
        for harness in (first, second):
            harness.script.answers = {
                "send_message": SendMessageResponse(message=b"{}", created=True),
                "get_friends": GetFriendsResponse(),
            }
        second.user_id = first.user_id

        async def send(harness: Harness, text: str) -> httpx.Response:
            path = f"/v1/conversations/{new_id()}/messages"
            body = {"text": text, "client_message_id": "c"}
            return await harness.client.post(path, json=body, headers=harness.signed_in)

        answers = [await send(first, "x" * 4_000) for _ in range(50)]
        assert [answer.status_code for answer in answers] == [201] * 49 + [429]
        assert answers[0].headers["ratelimit-policy"].endswith('"bytes";q=200000;w=86400;qu="content-bytes"')
        refused = answers[-1]
        assert (refused.json()["code"], int(refused.headers["retry-after"]) > 100) == ("rate_limited", True)
        assert (await first.client.get("/v1/friends", headers=first.signed_in)).status_code == 200
        # The other gateway hears of twice 64 KiB at least.
        async with asyncio.timeout(60):
            while True:
                answer = await send(second, "x")
                if int(answer.headers["ratelimit"].split('"bytes";r=')[1].partition(";")[0]) < 100_000:
                    break
                await asyncio.sleep(0.02)


async def test_counts_of_local_limits_are_not_shared(harness: Harness) -> None:
    harness.script.answers = {"get_friends": GetFriendsResponse()}
    await harness.client.get("/v1/friends", headers=harness.signed_in)
    limiter = harness.context.limiter
    assert limiter is not None
    assert not {"read", "read-address", "health-address"} & set(limiter.drain_local_counts())


async def test_two_gateways_count_together(tmp_path: Path, streams: NATS) -> None:
    async with running_gateway(tmp_path, streams) as first, running_gateway(tmp_path, streams) as second:
        stop_the_clock(first, second)
        await burn(first)
        second.script.answers = dict(LOGGED_IN)
        async with asyncio.timeout(60):
            while await log_in(second) == 201:
                await asyncio.sleep(0.02)
        assert await log_in(second) == 429


async def test_a_gateway_that_starts_remembers_what_was_counted_before(tmp_path: Path, streams: NATS) -> None:
    async with running_gateway(tmp_path, streams) as harness:
        harness.script.answers = dict(WRONG)
        limiter = harness.context.limiter
        assert limiter is not None
        # Of the limit that refills slowest of those that refuse so few, so that a slow machine gives nothing back.
        for _ in range(limits.LOGIN_FAILURES[1].capacity):
            limiter.consume(limits.LOGIN_FAILURES[1], "anna")
        assert await log_in(harness) == 429

    async with running_gateway(tmp_path, streams) as harness:
        harness.script.answers = dict(WRONG)
        assert await log_in(harness) == 429


async def test_what_is_shared_names_nobody_and_is_forgotten(harness: Harness, streams: NATS) -> None:
    harness.script.answers = {"send_message": SendMessageResponse(message=b"{}", created=True), **WRONG}
    await log_in(harness)
    jetstream = JetStream(streams)
    async with asyncio.timeout(60):
        while await jetstream.last(LIMITS, limit_uses("login-name")) is None:
            await asyncio.sleep(0.02)
    # From the first one, and each once it is stored.
    shared = await streams.jetstream().subscribe(LIMITS_FILTER, ordered_consumer=True)
    path = f"/v1/conversations/{harness.user_id}/messages"
    await harness.client.post(path, json={"text": "x", "client_message_id": "c"}, headers=harness.signed_in)
    messages = [await shared.next_msg(timeout=60)]
    while messages[-1].subject != limit_uses("send"):
        messages.append(await shared.next_msg(timeout=60))
    await shared.unsubscribe()
    keys = [base64.b64decode(key) for message in messages for key in msgspec.json.decode(message.data, type=Uses).uses]
    for secret in (b"anna", b"Anna", b"127.0.0.1", harness.user_id.encode()):
        assert not any(secret in message.data for message in messages)
        assert not any(secret in key for key in keys)
    # Of a limit that forgets within seconds nothing is left after them.
    async with asyncio.timeout(60):
        while await jetstream.last(LIMITS, limit_uses("send")) is not None:
            await asyncio.sleep(0.1)


async def test_without_its_store_a_gateway_goes_on_counting_and_tells_later(
    tmp_path: Path, streams: NATS, nats_server: NatsServer
) -> None:
    async with running_gateway(tmp_path, streams) as harness:
        stop_the_clock(harness)
        nats_server.kill()
        await burn(harness)
        await nats_server.start()
        jetstream = JetStream(streams)
        async with asyncio.timeout(60):
            while await jetstream.last(LIMITS, limit_uses("login-name")) is None:
                await asyncio.sleep(0.05)


async def test_rubbish_in_the_store_does_no_harm(
    harness: Harness, streams: NATS, caplog: pytest.LogCaptureFixture
) -> None:
    harness.script.answers = dict(LOGGED_IN)
    context = streams.jetstream()
    for rubbish in (b"", b"{", b'{"by": "x", "uses": {"!": 1}}', b'{"by": "x", "uses": {"AAAA": -5}}'):
        await context.publish(limit_uses("login-name"), rubbish)
    await context.publish(limit_uses("unknown"), b'{"by": "x", "uses": {}}')
    async with asyncio.timeout(60):
        while caplog.text.count("is malformed") < 3:
            await asyncio.sleep(0.02)
    assert await log_in(harness) == 201
