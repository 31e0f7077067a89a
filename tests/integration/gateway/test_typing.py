"""Typing: from any gateway to all clients of the friend, and nowhere else."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest_asyncio
from nats.aio.client import Client as NATS

from contracts.subjects import LIMITS, LIVE_TYPING
from contracts.values.ids import new_id
from services.gateway.limits import policies
from services.gateway.presence.typing_notices import TypingNotice
from tests.integration.gateway.live_clients import answer, down, socket
from tests.integration.gateway.two_gateways import Gateways, events, two_gateways


@pytest_asyncio.fixture
async def gateways(tmp_path: Path, streams: NATS) -> AsyncIterator[Gateways]:
    async with two_gateways(tmp_path, streams) as started:
        yield started


async def stored(nats: NATS) -> dict[str | None, int]:
    """The number of messages in each stream but that of the rate limits' counts."""
    counts = {info.config.name: info.state.messages for info in await nats.jetstream().streams_info()}
    del counts[LIMITS]
    return counts


async def test_a_friend_s_clients_see_at_every_gateway_that_one_is_writing(gateways: Gateways) -> None:
    one, other, anna, boris = gateways.one, gateways.other, gateways.anna, gateways.boris
    async with (
        gateways.listening(one, boris) as here,
        gateways.listening(other, boris, query={"notifications": "true"}) as there,
        gateways.listening(other, anna) as own,
        socket(other, other.token(user_id=boris)) as line,
    ):
        assert (await down(line))["event"] == "heartbeat"
        position = there.id
        assert await gateways.typing(one, anna, boris) == 204
        for stream in (here, there):
            assert await events(stream, "typing", 1) == [{"user_id": anna}]
        assert there.id == position
        assert await gateways.typing(other, boris, anna) == 204
        assert await events(own, "typing", 1) == [{"user_id": boris}]
        assert [event.type for event in here.events] == ["typing"]
        async with socket(one, one.token(user_id=anna, session_id=new_id())) as annas:
            await annas.send(msgspec.json.encode({"id": "1", "command": "typing", "user_id": boris}).decode())
            while (frame := await down(annas)).get("answer") != "1":
                pass
            assert frame == {"answer": "1", "status": 204}
        assert await events(here, "typing", 2) == [{"user_id": anna}] * 2
        while (frame := await down(line))["event"] != "typing":
            pass
        assert frame == {"event": "typing", "data": {"user_id": anna}}


async def test_only_friends_are_shown_it_and_none_after_the_friendship_has_ended(
    gateways: Gateways, streams: NATS
) -> None:
    one, other, anna, boris, carl = gateways.one, gateways.other, gateways.anna, gateways.boris, gateways.carl
    for sender, recipient in ((gateways.stranger, boris), (boris, carl), (anna, anna), (anna, "nobody")):
        assert await gateways.typing(one, sender, recipient) == 403
    async with gateways.listening(other, anna) as annas:
        assert await gateways.typing(one, boris, anna) == 204
        assert await events(annas, "typing", 1) == [{"user_id": boris}]
        await gateways.end_friendship(boris, anna)
        assert await gateways.typing(one, boris, anna) == 403
        # One that was on its way, from a gateway that had not read of the end.
        await streams.publish(LIVE_TYPING, msgspec.msgpack.encode(TypingNotice(boris, anna)))
        await streams.publish(LIVE_TYPING, b"broken")
        await streams.flush()
        assert await gateways.typing(one, carl, anna) == 204
        assert await events(annas, "typing", 2) == [{"user_id": boris}, {"user_id": carl}]


async def test_a_repeat_is_passed_on_once_a_device_and_a_flood_is_limited_and_nothing_is_stored(
    gateways: Gateways, streams: NATS
) -> None:
    one, anna, boris, carl = gateways.one, gateways.anna, gateways.boris, gateways.carl
    before = await stored(streams)
    sessions = new_id(), new_id()
    one.context.typing._clock = lambda: 0.0
    async with gateways.listening(gateways.other, boris) as boriss:
        for session_id in (*sessions, *sessions):
            assert await gateways.typing(one, anna, boris, session_id) == 204
        statuses = [await gateways.typing(one, anna, boris, sessions[0]) for _ in range(3 * policies.TYPING.capacity)]
        assert set(statuses) == {204, 429}
        assert await gateways.typing(one, carl, anna) == 204
        # Each gateway counts by itself; this notice comes after all that the first has passed on.
        assert await gateways.typing(gateways.other, anna, boris, sessions[0]) == 204
        assert len(await events(boriss, "typing", 3)) == 3
    assert await stored(streams) == before


async def test_typing_over_the_websocket_has_the_errors_of_the_route(gateways: Gateways) -> None:
    async with socket(gateways.one, gateways.one.token(user_id=gateways.stranger)) as line:
        refused = await answer(line, "typing")
        assert (refused["status"], refused["body"]["code"]) == (403, "not_friends")
