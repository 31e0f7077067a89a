"""Drafts: from any gateway to all clients of the user who saved one, and to no other."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest_asyncio
from nats.aio.client import Client as NATS

from contracts.rpc.vestnik.messaging.v1 import UpdateConversationResponse
from contracts.subjects import LIVE_DRAFT
from services.gateway.presence.draft_notices import DraftNotice
from tests.integration.gateway.live_clients import down, socket
from tests.integration.gateway.two_gateways import Gateways, events, two_gateways


@pytest_asyncio.fixture
async def gateways(tmp_path: Path, streams: NATS) -> AsyncIterator[Gateways]:
    async with two_gateways(tmp_path, streams) as started:
        yield started


async def test_a_draft_comes_to_all_clients_of_its_writer_without_a_position(gateways: Gateways, streams: NATS) -> None:
    one, other, anna, boris = gateways.one, gateways.other, gateways.anna, gateways.boris

    async def save(live: bytes, text: str) -> None:
        one.script.answers["update_conversation"] = UpdateConversationResponse(live=live)
        path = f"/v1/conversations/{boris}"
        answer = await one.client.patch(path, json={"draft": text}, headers=gateways.headers(one, anna))
        assert answer.status_code == 204

    shown = {"user_id": boris, "draft": "Dear"}
    async with (
        gateways.listening(one, anna) as here,
        gateways.listening(other, anna) as there,
        gateways.listening(other, boris) as boriss,
        socket(other, other.token(user_id=anna)) as line,
    ):
        assert (await down(line))["event"] == "heartbeat"
        position = there.id
        await save(msgspec.json.encode(shown), "Dear")
        for stream in (here, there):
            assert await events(stream, "conversation.updated", 1) == [shown]
        assert await down(line) == {"event": "conversation.updated", "data": shown}
        assert there.id == position
        # Settings come from the stream alone, and a message that cannot be read harms nothing.
        await save(b"", "")
        await streams.publish(LIVE_DRAFT, b"broken")
        await streams.publish(LIVE_DRAFT, msgspec.msgpack.encode(DraftNotice(boris, b'{"draft":"mine"}')))
        await streams.flush()
        assert await events(boriss, "conversation.updated", 1) == [{"draft": "mine"}]
        assert [event.data for event in here.events] == [event.data for event in there.events] == [shown]
