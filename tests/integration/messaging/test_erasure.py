"""What is left of a conversation when one of the two is erased, at every replica."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
import pytest

from contracts.errors import Unavailable, UserNotFound
from contracts.events.message import MessageSent
from contracts.messages import MessageItem
from contracts.positions import Position
from contracts.rpc.vestnik.messaging.v1 import (
    GetMessagesRequest,
    GetMessagesResponse,
    MessagingServiceStub,
    ReactRequest,
)
from contracts.subjects import conversation
from contracts.values.ids import pair_id
from infra.rpc.client import Client
from tests.integration.messaging.messaging_calls import conversations, friends, mark, message_of, messages, send
from tests.integration.service_cluster import House, seen

pytestmark = pytest.mark.asyncio(loop_scope="module")
# Seconds until the machine has done it, however busy it is.
PATIENCE = 60


async def refused(attempt: Callable[[], Awaitable[object]]) -> None:
    """Waits until the replica has heard of the erasure; from then on it always refuses."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                # One that has just begun may not know it yet.
                with suppress(Unavailable):
                    await attempt()
            except UserNotFound:
                break
            await asyncio.sleep(0.01)
    for _ in range(5):
        with pytest.raises(UserNotFound):
            await attempt()


async def newest(client: Client, user_id: str, peer_id: str, position: str, known: str = "") -> GetMessagesResponse:
    stub = client.stub(MessagingServiceStub)
    request = GetMessagesRequest(user_id=user_id, peer_id=peer_id, limit=50, known=known)
    return await client.call(stub.get_messages, request, context=seen(position))


async def test_the_erased_persons_messages_are_deleted_ones_and_the_conversation_stays(house: House) -> None:
    client = house.client("messaging")
    anna, ben, _ = await friends(house)
    hers = await send(client, anna, ben, "a secret of Anna")
    his = await send(client, ben, anna, "his words")
    reply = await send(client, ben, anna, "an answer", reply_to=message_of(hers).message_id, position=hers.position)
    replicas = [house.client("messaging", number) for number in (0, 1)]
    before = [await newest(replica, ben, anna, reply.position) for replica in replicas]
    erased = await house.erase(anna)
    for replica, page in zip(replicas, before, strict=True):
        # No page of before is valid any more, neither messaging's own nor one that a gateway has kept.
        assert b"a secret" in page.items
        now = await newest(replica, ben, anna, erased, known=page.version)
        assert not now.unchanged
        answered, words, secret = msgspec.json.decode(now.items, type=list[MessageItem])
        assert (secret.sequence, secret.text, secret.deleted) == (1, "", True)
        assert (words.sequence, words.text, words.deleted) == (2, "his words", msgspec.UNSET)
        assert answered.reply_to is not msgspec.UNSET
        assert (answered.reply_to.text, answered.reply_to.deleted) == ("", True)
        assert (await newest(replica, ben, anna, erased, known=now.version)).unchanged
    [listed] = await conversations(client, ben, Position.decode(erased).merge(Position.decode(his.position)).encode())
    assert listed.user_id == anna
    assert listed.last_message is not None
    assert listed.last_message.text == "an answer"


async def test_a_registration_that_ended_without_an_account_ends_no_page(house: House) -> None:
    client = house.client("messaging")
    anna, ben, _ = await friends(house)
    sent = await send(client, anna, ben, "words")
    page = await newest(client, ben, anna, sent.position)
    unverified, _ = await house.register_unverified(f"u{secrets.token_hex(6)}")
    ended = await house.erase(unverified, "registration_ended")
    assert (await newest(client, ben, anna, ended, known=page.version)).unchanged


async def test_no_one_writes_to_an_erased_person_at_any_replica_though_it_has_cached_the_friendship(
    house: House,
) -> None:
    client = house.client("messaging")
    anna, ben, _ = await friends(house)
    replicas = [house.client("messaging", number) for number in (0, 1)]
    first = await send(client, ben, anna, "one", "first")
    for replica in replicas:
        await send(replica, ben, anna, "another")
    await house.erase(anna)
    for replica in replicas:
        await refused(lambda replica=replica: send(replica, ben, anna, secrets.token_hex(4)))  # type: ignore[misc]
        message_id = message_of(first).message_id
        request = ReactRequest(user_id=ben, peer_id=anna, message_id=message_id, emoji="👍")
        with pytest.raises(UserNotFound):
            await replica.call(replica.stub(MessagingServiceStub).react, request)
        # What was sent before is not sent again.
        repeated = await send(replica, ben, anna, "one", "first")
        assert message_of(repeated).message_id == message_id
        # The conversation can be read and put in order.
        await mark(replica, ben, anna, 1)


async def test_after_a_restart_the_erased_are_still_known(house: House) -> None:
    anna, ben, _ = await friends(house)
    sent = await send(house.client("messaging"), ben, anna, "one")
    erased = Position.decode(await house.erase(anna)).merge(Position.decode(sent.position))
    await messages(house.client("messaging"), ben, anna, erased.encode())
    await house.kill("messaging")
    for number in (0, 1):
        replica = house.client("messaging", number)
        await refused(lambda replica=replica: send(replica, ben, anna, "two"))  # type: ignore[misc]
    stored = [message.open().data for message in await house.log.read(conversation(pair_id(anna, ben)))]
    assert [event.text for event in stored if isinstance(event, MessageSent)] == ["one"]
