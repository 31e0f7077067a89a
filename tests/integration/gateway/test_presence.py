"""Presence at two gateways: friends who ask see it, unless one of the two hides."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from nats.aio.client import Client as NATS

from contracts.subjects import BUCKETS, LAST_SEEN, LIMITS, stream_of_bucket
from contracts.values.ids import new_id
from services.gateway.limits import policies
from services.gateway.presence.watches import MOST_WATCHED
from streams.jetstream.key_value import KeyValue
from tests.conditions import until
from tests.integration.gateway.conftest import Harness
from tests.integration.gateway.two_gateways import Gateways, events, two_gateways


@pytest_asyncio.fixture
async def gateways(tmp_path: Path, streams: NATS) -> AsyncIterator[Gateways]:
    async with two_gateways(tmp_path, streams) as started:
        yield started


def online(harness: Harness, user_id: str) -> bool:
    """Whether the gateway knows that the user is online anywhere."""
    return user_id in harness.context.presence._exchange.online


async def seen(gateways: Gateways, user_id: str, state: bool) -> None:
    for harness in (gateways.one, gateways.other):
        await until(lambda harness=harness: online(harness, user_id) == state)  # type: ignore[misc]


async def test_who_asked_hears_of_friends_at_any_gateway_until_their_last_device_has_gone(
    gateways: Gateways, streams: NATS
) -> None:
    one, other, anna, boris, carl = gateways.one, gateways.other, gateways.anna, gateways.boris, gateways.carl
    async with gateways.listening(one, anna) as asked, gateways.listening(one, anna, session_id=new_id()) as silent:
        # Answered by the gateway to which she is not connected.
        people = (boris, carl, gateways.stranger, new_id())
        offline = {user_id: {"user_id": user_id, "online": False} for user_id in (boris, carl)}
        assert await gateways.presence(other, anna, *people) == offline
        await until(lambda: any(boris in last_sent for last_sent in one.context.presence._watches._last_sent.values()))
        async with gateways.listening(other, boris):
            assert await events(asked, "presence", 1) == [{"user_id": boris, "online": True}]
            async with gateways.listening(one, boris):
                await until(
                    lambda: boris in one.context.presence._exchange.online.at(one.context.presence._exchange.me)
                )
            async with gateways.listening(other, carl):
                assert await events(asked, "presence", 2) == [
                    {"user_id": boris, "online": True},
                    {"user_id": carl, "online": True},
                ]
            await seen(gateways, carl, False)
            answered = await gateways.presence(one, anna, *people)
            assert answered[boris] == {"user_id": boris, "online": True}
            assert (answered[carl]["online"], set(answered)) == (False, {boris, carl})
            assert answered[carl]["last_seen_at"]
        *_, carls, last = await events(asked, "presence", 4)
        assert (last["user_id"], last["online"], bool(last["last_seen_at"])) == (boris, False, True)
        assert carls == answered[carl]
        assert asked.id == silent.id
        assert silent.events == []
        # Stored by whichever gateway was the last, in the bucket and nowhere else.
        values = KeyValue(streams, LAST_SEEN, patience=60.0)
        while len(stored := await values.get_many([anna, boris, carl])) < 2:
            pass
        assert stored == {user_id: event["last_seen_at"].encode() for user_id, event in ((carl, carls), (boris, last))}
    for info in await streams.jetstream().streams_info():
        assert info.config.name in (LIMITS, *map(stream_of_bucket, BUCKETS)) or not info.state.messages


async def test_only_current_friends_receive_presence(gateways: Gateways) -> None:
    one, other, anna, boris, carl = gateways.one, gateways.other, gateways.anna, gateways.boris, gateways.carl
    async with gateways.listening(one, anna) as annas, gateways.listening(one, gateways.stranger) as strangers:
        assert await gateways.presence(one, gateways.stranger, anna, boris, gateways.stranger) == {}
        assert set(await gateways.presence(one, boris, anna, carl)) == {anna}
        assert set(await gateways.presence(one, anna, boris, carl)) == {boris, carl}
        await gateways.end_friendship(boris, anna)
        async with gateways.listening(other, boris):
            await seen(gateways, boris, True)
            assert set(await gateways.presence(other, anna, boris, carl)) == {carl}
            assert await gateways.presence(other, boris, anna) == {}
            async with gateways.listening(other, carl):
                assert await events(annas, "presence", 1) == [{"user_id": carl, "online": True}]
                await gateways.end_friendship(carl, anna)
                for harness in (one, other):
                    assert not any(carl in watched for watched in harness.context.presence._watches._last_sent.values())
            await seen(gateways, carl, False)
            # A later event shows that none was sent about Carl.
            one.context.live.offer(anna, "presence", b'{"user_id":"last"}')
            assert (await events(annas, "presence", 2))[1:] == [{"user_id": "last"}]
        assert strangers.events == []


async def test_who_hides_is_seen_by_nobody_and_sees_nobody(gateways: Gateways, streams: NATS) -> None:
    one, other, anna, boris = gateways.one, gateways.other, gateways.anna, gateways.boris
    values = KeyValue(streams, LAST_SEEN, patience=60.0)
    async with gateways.listening(one, boris):
        await seen(gateways, boris, True)
    await seen(gateways, boris, False)
    while boris not in await values.get_many([boris]):
        pass
    async with gateways.listening(one, anna) as annas, gateways.listening(other, boris) as boriss:
        for user_id in (anna, boris):
            await seen(gateways, user_id, True)
        assert (await gateways.presence(one, anna, boris))[boris]["online"]
        assert (await gateways.presence(other, boris, anna))[anna]["online"]
        await gateways.hide(boris, True)
        assert await events(annas, "presence", 1) == [{"user_id": boris, "online": False}]
        assert await events(boriss, "presence", 1) == [{"user_id": anna, "online": False}]
        assert await gateways.presence(one, anna, boris) == await gateways.presence(other, anna, boris) == {}
        assert await gateways.presence(one, boris, anna) == await gateways.presence(other, boris, anna) == {}
        while await values.get_many([boris]):
            pass
        await gateways.hide(boris, False)
        assert (await events(annas, "presence", 2))[1] == {"user_id": boris, "online": True}
        assert (await events(boriss, "presence", 2))[1] == {"user_id": anna, "online": True}
    # Who hides when they come is not announced, and nothing is kept of when they went.
    await gateways.hide(boris, True)
    await seen(gateways, boris, False)
    async with gateways.listening(one, gateways.carl), gateways.listening(one, boris):
        await seen(gateways, gateways.carl, True)
        assert not online(one, boris)
    await seen(gateways, gateways.carl, False)
    while gateways.carl not in await values.get_many([gateways.carl]):
        pass
    assert await values.get_many([boris]) == {}


async def test_a_reconnect_within_moments_is_shown_to_nobody(gateways: Gateways) -> None:
    one, other, anna, boris, carl = gateways.one, gateways.other, gateways.anna, gateways.boris, gateways.carl
    for harness in (one, other):
        harness.context.presence._grace = 600.0
    async with gateways.listening(one, anna) as annas, AsyncExitStack() as stack:
        await gateways.presence(one, anna, boris, carl)
        async with gateways.listening(other, boris):
            assert await events(annas, "presence", 1) == [{"user_id": boris, "online": True}]
        async with gateways.listening(one, boris):
            pass
        await stack.enter_async_context(gateways.listening(other, carl))
        expected = [{"user_id": boris, "online": True}, {"user_id": carl, "online": True}]
        assert await events(annas, "presence", 2) == expected


async def test_without_the_bucket_or_the_settings_messages_go_on_and_presence_says_less(
    gateways: Gateways, streams: NATS
) -> None:
    one, other, anna, boris = gateways.one, gateways.other, gateways.anna, gateways.boris
    await streams.jetstream().delete_stream(stream_of_bucket(LAST_SEEN))
    assert await gateways.presence(one, anna, boris) == {boris: {"user_id": boris, "online": False}}
    for harness in (one, other):
        harness.script.answers = {**harness.script.answers, "find_hidden": RuntimeError()}
        assert (await harness.client.get("/readyz")).status_code == 200
    async with gateways.listening(one, gateways.carl) as carls:
        # It is not known whether he hides.
        answer = await one.client.get(
            "/v1/presence", params={"user_id": anna}, headers=gateways.headers(one, gateways.carl)
        )
        assert answer.status_code == 500
        assert not online(one, gateways.carl)
        assert await gateways.typing(one, anna, gateways.carl) == 204
        assert await events(carls, "typing", 1) == [{"user_id": anna}]
        for harness in (one, other):
            harness.script.answers = {**harness.script.answers, "find_hidden": gateways._find_hidden}
        await seen(gateways, gateways.carl, True)


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("", "/query/user_id"),
        ("user_id=", "/query/user_id/0"),
        ("user_id=me", "/query/user_id/0"),
        ("&".join(["user_id=01890a5d-ac96-774b-bcce-b302099a8057"] * (MOST_WATCHED + 1)), "/query/user_id"),
    ],
)
async def test_a_question_about_nobody_or_too_many_is_refused(harness: Harness, query: str, path: str) -> None:
    answer = await harness.client.get(f"/v1/presence?{query}", headers=harness.signed_in)
    assert answer.status_code == 422
    assert [error["path"] for error in answer.json()["errors"]] == [path]


async def test_questions_are_limited(harness: Harness) -> None:
    harness.context.presence._live = None  # type: ignore[assignment]  # each question that is counted fails
    statuses: list[int] = []
    query = {"user_id": new_id()}
    while 429 not in statuses:
        statuses.append((await harness.client.get("/v1/presence", params=query, headers=harness.signed_in)).status_code)
        assert len(statuses) < 10 * policies.PRESENCE.capacity
    assert len(statuses) > policies.PRESENCE.capacity
