"""Sending over real gRPC, with two replicas that share only the stream."""

import asyncio
from datetime import datetime

import msgspec
import pytest
from msgspec import UNSET

from contracts.errors import ClientMessageIdReused, Forbidden, Invalid, NotFriends, UserNotFound
from contracts.messages import Quote, Reaction
from contracts.rpc.vestnik.messaging.v1 import MessagingServiceStub, SendMessageRequest
from contracts.values.ids import new_id, pair_id
from services.auth.clients import Messages
from tests.integration.messaging.messaging_calls import (
    befriend,
    conversations,
    delete,
    edit,
    friends,
    last,
    mark,
    message_of,
    messages,
    react,
    send,
    stored,
    unfriend,
)
from tests.integration.service_cluster import House, people

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_friends_write_to_each_other_and_read_it_back(house: House) -> None:
    anna, ben, _ = await friends(house)
    client = house.client("messaging")
    text = "Привет, \U0001f600!\n\u200bline two"
    first = await send(client, anna, ben, text)
    assert first.created
    sent = message_of(first)
    assert (sent.sequence, sent.sender_id, sent.text, sent.conversation_id) == (1, anna, text, pair_id(anna, ben))
    second = await send(client, ben, anna, "hi")
    page, more = await messages(client, anna, ben, second.position)
    assert [(message.sequence, message.text) for message in page] == [(2, "hi"), (1, text)]
    assert not more
    assert page[1].sent_at == sent.sent_at
    # The answer shows that what came before it was seen.
    assert page[1].seen_at == page[0].sent_at
    assert page[0].seen_at is UNSET


async def test_auth_learns_when_the_oldest_message_was_sent_and_no_one_else_does(house: House) -> None:
    anna, ben, _ = await friends(house)
    sent = message_of(await send(house.client("messaging"), anna, ben, "hello"))
    oldest = await Messages(house.client("messaging", me="auth")).oldest()
    assert oldest is not None
    assert oldest <= datetime.fromisoformat(sent.sent_at)
    with pytest.raises(Forbidden):
        await Messages(house.client("messaging", me="contact")).oldest()


async def test_one_message_however_often_and_wherever_it_is_sent(house: House) -> None:
    replicas = [house.client("messaging", 0), house.client("messaging", 1)]
    for _ in range(5):
        anna, ben, _ = await friends(house)
        answers = await asyncio.gather(
            *(send(replicas[number % 2], anna, ben, "once", "same-id") for number in range(20))
        )
        assert sum(answer.created for answer in answers) == 1
        assert len({message_of(answer).message_id for answer in answers}) == 1
        assert await stored(house, anna, ben) == [1]


async def test_sequences_are_dense_with_any_writers_at_any_replica(house: House) -> None:
    anna, ben, _ = await friends(house)
    replicas = [house.client("messaging", 0), house.client("messaging", 1)]
    pairs = [(anna, ben), (ben, anna)]
    answers = await asyncio.gather(
        *(send(replicas[number % 2], *pairs[number // 2 % 2], f"text {number}") for number in range(120))
    )
    assert sorted(message_of(answer).sequence for answer in answers) == list(range(1, 121))
    assert await stored(house, anna, ben) == list(range(1, 121))
    page, _ = await messages(replicas[0], anna, ben, last(answers), limit=200)
    assert [message.sequence for message in page] == list(range(120, 0, -1))


async def test_an_id_stands_for_one_text_of_one_sender_to_one_person(house: House) -> None:
    anna, ben, _ = await friends(house)
    cleo = (await people(house, 1))[0]
    await befriend(house, anna, cleo)
    one, other = house.client("messaging", 0), house.client("messaging", 1)
    await send(one, anna, ben, "text", "id")
    with pytest.raises(ClientMessageIdReused):
        await send(other, anna, ben, "other text", "id")
    assert (await send(other, ben, anna, "other text", "id")).created
    assert (await send(other, anna, cleo, "other text", "id")).created


async def test_a_message_sent_long_ago_is_not_sent_again(house: House) -> None:
    anna, ben, _ = await friends(house)
    one, other = house.client("messaging", 0), house.client("messaging", 1)
    first = await send(one, anna, ben, "first", "first")
    for number in range(150):
        await send(one, anna, ben, f"text {number}")
    for client in (one, other):
        again = await send(client, anna, ben, "first", "first")
        assert (again.created, again.message) == (False, first.message)


async def test_only_friends_write_and_nobody_to_themselves(house: House) -> None:
    anna, ben = await people(house)
    client = house.client("messaging")
    with pytest.raises(NotFriends):
        await send(client, anna, ben, "hello")
    with pytest.raises(NotFriends):
        await send(client, anna, anna, "hello")
    with pytest.raises(UserNotFound):
        await send(client, anna, new_id(), "hello")
    with pytest.raises(NotFriends):
        await messages(client, anna, ben, "")


async def test_access_ends_with_the_friendship_and_comes_back_with_the_history(house: House) -> None:
    anna, ben, _ = await friends(house)
    clients = [house.client("messaging", 0), house.client("messaging", 1)]
    for client in clients:
        await send(client, anna, ben, "before")
    removed = await unfriend(house, ben, anna)
    for client in clients:
        with pytest.raises(NotFriends):
            await send(client, anna, ben, "after", position=removed)
        for user_id, peer_id in ((anna, ben), (ben, anna)):
            with pytest.raises(NotFriends):
                await messages(client, user_id, peer_id, removed)
            assert await conversations(client, user_id, removed) == []
        with pytest.raises(NotFriends):
            await mark(client, anna, ben, 1, removed)
    accepted = await befriend(house, anna, ben)
    page, _ = await messages(clients[0], ben, anna, accepted)
    assert [message.text for message in page] == ["before", "before"]
    third = await send(clients[1], anna, ben, "again", position=accepted)
    assert message_of(third).sequence == 3


async def test_a_repeat_after_the_friendship_ended_tells_nothing_new_of_the_other(house: House) -> None:
    anna, ben, _ = await friends(house)
    client = house.client("messaging")
    theirs = message_of(await send(client, ben, anna, "before"))
    sent = await send(client, anna, ben, "reply", "c1", reply_to=theirs.message_id)
    await edit(client, ben, anna, theirs.message_id, "edited")
    reacted = await react(client, ben, anna, message_of(sent).message_id, "👍")
    again = await send(client, anna, ben, "reply", "c1", reacted.position, reply_to=theirs.message_id)
    quote = Quote(message_id=theirs.message_id, sequence=1, sender_id=ben, text="edited")
    assert (message_of(again).reply_to, message_of(again).reactions) == (quote, [Reaction("👍", [ben])])
    position = await unfriend(house, anna, ben)
    closed = message_of(await send(client, anna, ben, "reply", "c1", position, reply_to=theirs.message_id))
    quote = msgspec.structs.replace(quote, text=UNSET)
    assert closed == msgspec.structs.replace(message_of(sent), reply_to=quote)


async def test_a_repeat_gets_the_message_as_it_is_now(house: House) -> None:
    anna, ben, _ = await friends(house)
    client, other = house.client("messaging", 0), house.client("messaging", 1)
    first = message_of(await send(client, anna, ben, "first", "c1"))
    edited = await edit(client, anna, ben, first.message_id, "second")
    # From memory, and from the read model or the stream.
    for replica in (client, other):
        again = await send(replica, anna, ben, "first", "c1")
        assert (again.created, message_of(again)) == (False, edited)
        # What it was sent with counts, not what it is now.
        with pytest.raises(ClientMessageIdReused):
            await send(replica, anna, ben, "second", "c1")
    await house.kill("messaging")
    # Now out of the read model, whose row has another text.
    again = await send(client, anna, ben, "first", "c1")
    assert (again.created, message_of(again)) == (False, edited)
    with pytest.raises(ClientMessageIdReused):
        await send(other, anna, ben, "second", "c1")
    await delete(other, anna, ben, first.message_id)
    deleted = msgspec.structs.replace(first, text="", deleted=True)
    removed = await unfriend(house, anna, ben)
    for replica, text in ((client, "first"), (other, "whatever")):
        again = await send(replica, anna, ben, text, "c1", removed)
        assert (again.created, message_of(again)) == (False, deleted)
    with pytest.raises(NotFriends):
        await send(client, anna, ben, "first", "c2", removed)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", ""),
        ("text", "x" * 4001),
        ("text", "a\x00b"),
        ("text", " \u3000\n"),
        ("client_message_id", "a b"),
        ("recipient_id", "x"),
    ],
)
async def test_what_is_out_of_bounds_is_refused(house: House, field: str, value: str) -> None:
    anna, ben = await people(house)
    values = {"sender_id": anna, "recipient_id": ben, "text": "x", "client_message_id": "id"} | {field: value}
    client = house.client("messaging")
    with pytest.raises(Invalid) as caught:
        await client.call(client.stub(MessagingServiceStub).send_message, SendMessageRequest(**values))
    assert [violation.path for violation in caught.value.violations] == [f"/{field}"]


async def test_a_repeat_after_everything_was_killed_is_still_the_same_message(house: House) -> None:
    anna, ben, _ = await friends(house)
    first = await send(house.client("messaging"), anna, ben, "once", "before-the-crash")
    await house.kill("messaging")
    replicas = [house.client("messaging", 0), house.client("messaging", 1)]
    answers = await asyncio.gather(
        *(send(replicas[number % 2], anna, ben, "once", "before-the-crash") for number in range(20))
    )
    assert {answer.message for answer in answers} == {first.message}
    assert not any(answer.created for answer in answers)
    following = await send(replicas[1], ben, anna, "and on")
    assert message_of(following).sequence == 2


async def test_a_stopping_replica_finishes_its_calls(house: House) -> None:
    anna, ben, _ = await friends(house)
    client = house.client("messaging")
    sending = [asyncio.create_task(send(client, anna, ben, f"text {number}", f"n{number}")) for number in range(40)]
    await asyncio.gather(*sending[:3])
    assert await house.terminate("messaging", 0) == 0
    assert all(answer.created for answer in await asyncio.gather(*sending))
    assert await stored(house, anna, ben) == list(range(1, 41))
    await house.start_replica("messaging", 0)
