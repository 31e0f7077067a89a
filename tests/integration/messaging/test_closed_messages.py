"""Own messages in closed conversations are listed, page by page, and nothing that others wrote."""

from typing import Any

import msgspec
import pytest

from contracts.positions import Position
from contracts.rpc.vestnik.messaging.v1 import ListClosedMessagesRequest, MessagingServiceStub
from tests.integration.messaging.messaging_calls import befriend, delete, edit, message_of, send, unfriend
from tests.integration.service_cluster import House, people, seen

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_own_messages_of_closed_conversations_come_in_pages_however_they_were_closed(house: House) -> None:
    anna, ben, carl, dora = await people(house, 4)
    client = house.client("messaging")
    stub = client.stub(MessagingServiceStub)
    position = Position()

    def see(encoded: str) -> str:
        nonlocal position
        position = position.merge(Position.decode(encoded))
        return position.encode()

    for other in (ben, carl, dora):
        see(await befriend(house, anna, other))
        await send(client, anna, other, f"one of {other}", position=position.encode())
        await send(client, other, anna, f"from {other}", position=position.encode())
    edited = message_of(await send(client, anna, ben, "before the edit", position=position.encode()))
    deleted = message_of(await send(client, anna, ben, "to be deleted", position=position.encode()))
    await edit(client, anna, ben, edited.message_id, "after the edit", position.encode())
    see(await delete(client, anna, ben, deleted.message_id, position.encode()))

    async def listed(user_id: str, limit: int) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        cursor = ""
        while True:
            request = ListClosedMessagesRequest(user_id=user_id, limit=limit, cursor=cursor)
            answer = await client.call(stub.list_closed_messages, request, context=seen(position.encode(), user_id))
            page = msgspec.json.decode(answer.items)
            assert len(page) <= limit
            items += page
            if not (cursor := answer.next):
                return items

    assert await listed(anna, 2) == []
    see(await unfriend(house, ben, anna))
    see(await unfriend(house, anna, carl))
    own = await listed(anna, 100)
    assert [(item["user_id"], item["text"]) for item in own] == [
        pair
        for other in sorted((ben, carl))
        for pair in [
            (other, f"one of {other}"),
            *([(ben, "after the edit"), (ben, "")] if other == ben else []),
        ]
    ]
    assert [item["message_id"] for item in own if "edited_at" in item] == [edited.message_id]
    assert [item["message_id"] for item in own if item.get("deleted")] == [deleted.message_id]
    for limit in (1, 2, 3):
        assert await listed(anna, limit) == own
    assert [item["text"] for item in await listed(ben, 1)] == [f"from {ben}"]
