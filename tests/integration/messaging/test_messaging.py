"""Conversations over real gRPC, with two replicas that share only the stream."""

import asyncio
import secrets
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import msgspec
import pytest
from msgspec import UNSET

from contracts.envelope import Provenance, now, seal
from contracts.errors import (
    ClientMessageIdReused,
    EditWindowOver,
    Invalid,
    MessageHasBeenDeleted,
    MessageNotFound,
    NotFriends,
    NotSender,
    UserNotFound,
)
from contracts.events.message import FOREVER, MessageSent, NotificationRead, ReactionChanged
from contracts.messages import ConversationItem, LiveMessage, MessageItem, Quote, Reaction, SentMessage
from contracts.positions import Position
from contracts.rpc.vestnik.contact.v1 import AddFriendRequest, ContactServiceStub, RemoveFriendRequest
from contracts.rpc.vestnik.messaging.v1 import (
    BackfillNotificationsRequest,
    BackfillRequest,
    ClientEvent,
    DeleteMessageRequest,
    EditMessageRequest,
    GetMessagesRequest,
    GetQuotesRequest,
    ListConversationsRequest,
    ListMutesRequest,
    ListNotificationsRequest,
    MarkNotificationsReadRequest,
    MarkSeenRequest,
    MessagingServiceStub,
    Notification,
    QuotedMessage,
    ReactRequest,
    ReactResponse,
    SendMessageRequest,
    SendMessageResponse,
    UpdateConversationRequest,
)
from contracts.subjects import MESSAGING, conversation, notifications, settings
from contracts.subjects import message as message_subject
from contracts.values.field_types import MOST_QUOTES
from contracts.values.ids import new_id, pair_id
from contracts.values.timestamps import to_unix_ms
from infra.rpc.client import Client
from streams.log import Append
from tests.integration.service_cluster import House, seen

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def people(house: House, count: int = 2) -> list[str]:
    return [(await house.register(f"u{secrets.token_hex(6)}"))[0] for _ in range(count)]


async def befriend(house: House, one: str, other: str) -> str:
    contact = house.client("contact")
    stub = contact.stub(ContactServiceStub)
    await contact.call(stub.add_friend, AddFriendRequest(user_id=one, friend_id=other))
    request = AddFriendRequest(user_id=other, friend_id=one)
    return (await contact.call(stub.add_friend, request)).position


async def unfriend(house: House, one: str, other: str) -> str:
    contact = house.client("contact")
    stub = contact.stub(ContactServiceStub)
    request = RemoveFriendRequest(user_id=one, friend_id=other)
    return (await contact.call(stub.remove_friend, request)).position


async def friends(house: House) -> tuple[str, str, str]:
    anna, ben = await people(house)
    return anna, ben, await befriend(house, anna, ben)


async def send(
    client: Client,
    sender: str,
    recipient: str,
    text: str,
    client_id: str | None = None,
    position: str = "",
    reply_to: str = "",
) -> SendMessageResponse:
    request = SendMessageRequest(
        sender_id=sender,
        recipient_id=recipient,
        text=text,
        client_message_id=client_id or secrets.token_hex(8),
        reply_to=reply_to,
    )
    stub = client.stub(MessagingServiceStub)
    return await client.call(stub.send_message, request, timeout=10.0, context=seen(position, sender))


def message_of(answer: SendMessageResponse) -> SentMessage:
    return msgspec.json.decode(answer.message, type=SentMessage)


async def messages(
    client: Client,
    user_id: str,
    peer_id: str,
    position: str,
    *,
    before: int | None = None,
    after: int | None = None,
    limit: int = 50,
) -> tuple[list[MessageItem], bool]:
    """A page, and whether there are more."""
    stub = client.stub(MessagingServiceStub)
    request = GetMessagesRequest(user_id=user_id, peer_id=peer_id, before=before, after=after, limit=limit)
    page = await client.call(stub.get_messages, request, context=seen(position))
    return msgspec.json.decode(page.items, type=list[MessageItem]), page.more


async def mark(client: Client, user_id: str, peer_id: str, sequence: int, position: str = "") -> str:
    stub = client.stub(MessagingServiceStub)
    request = MarkSeenRequest(user_id=user_id, peer_id=peer_id, sequence=sequence)
    return (await client.call(stub.mark_seen, request, context=seen(position))).position


async def conversations(client: Client, user_id: str, position: str) -> list[ConversationItem]:
    stub = client.stub(MessagingServiceStub)
    request = ListConversationsRequest(user_id=user_id)
    page = await client.call(stub.list_conversations, request, context=seen(position))
    return msgspec.json.decode(page.items, type=list[ConversationItem])


async def stored(house: House, one: str, other: str) -> list[int]:
    found = await house.log.read(conversation(pair_id(one, other)))
    return [message.envelope().version for message in found]


def last(answers: Sequence[SendMessageResponse]) -> str:
    return max(answers, key=lambda answer: message_of(answer).sequence).position


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


async def test_a_reply_shows_the_message_that_it_answers_wherever_it_is_shown(house: House) -> None:
    anna, ben, _ = await friends(house)
    client, other = house.client("messaging", 0), house.client("messaging", 1)
    first = message_of(await send(client, anna, ben, "Where?\n"))
    # At once, over another replica and without a position: the read model may lack it.
    answer = await send(other, ben, anna, "There", "r1", reply_to=first.message_id)
    quote = Quote(message_id=first.message_id, sequence=1, sender_id=anna, text="Where?\n")
    assert message_of(answer).reply_to == quote
    plain = await send(client, anna, ben, "Fine")
    newest, _ = await messages(client, ben, anna, plain.position)
    assert [message.reply_to for message in newest] == [UNSET, quote, UNSET]
    later, _ = await messages(client, anna, ben, plain.position, after=1)
    assert [message.reply_to for message in later] == [quote, UNSET]
    earlier, _ = await messages(client, anna, ben, plain.position, before=3)
    assert [message.reply_to for message in earlier] == [quote, UNSET]
    again = await send(client, ben, anna, "There", "r1", reply_to=first.message_id)
    assert not again.created
    assert again.message == answer.message
    last = await send(client, ben, anna, "So", reply_to=message_of(plain).message_id)
    [shown] = await conversations(client, anna, last.position)
    assert shown.last_message is not None
    assert shown.last_message.reply_to == Quote(
        message_id=message_of(plain).message_id, sequence=3, sender_id=anna, text="Fine"
    )
    live = [msgspec.json.decode(event.data).get("reply_to") for event in await missed(client, anna, 0, plain.position)]
    assert live[:3] == [None, msgspec.to_builtins(quote), None]


async def test_quotes_are_asked_for_by_conversation_and_sequence_and_show_a_message_as_it_is_now(house: House) -> None:
    anna, ben, _ = await friends(house)
    client = house.client("messaging")
    one, two, three = [message_of(await send(client, anna, ben, text)) for text in ("a\n", "b", "c")]
    edited = await edit(client, anna, ben, two.message_id, "b2")
    position = await delete(client, anna, ben, three.message_id)
    assert edited.text == "b2"

    async def quotes(*messages: tuple[str, int]) -> list[tuple[str, str, bool]]:
        request = GetQuotesRequest(
            messages=[
                QuotedMessage(conversation_id=conversation_id, sequence=sequence)
                for conversation_id, sequence in messages
            ]
        )
        stub = client.stub(MessagingServiceStub)
        answer = await client.call(stub.get_quotes, request, timeout=10.0, context=seen(position))
        return sorted((quote.text, quote.message_id, quote.deleted) for quote in answer.quotes)

    here = one.conversation_id
    absent = ((here, 4), (new_id(), 1))
    assert await quotes(*((here, sequence) for sequence in (1, 2, 3)), *absent) == [
        ("", three.message_id, True),
        ("a\n", one.message_id, False),
        ("b2", two.message_id, False),
    ]
    assert await quotes() == []
    for invalid in (("x", 1), (here, 0), (here, -1)):
        with pytest.raises(Invalid):
            await quotes(invalid)
    with pytest.raises(Invalid):
        await quotes(*((here, sequence) for sequence in range(1, MOST_QUOTES + 2)))


async def test_a_reply_answers_a_message_of_the_same_conversation(house: House) -> None:
    anna, ben, _ = await friends(house)
    client = house.client("messaging")
    [carl] = await people(house, 1)
    await befriend(house, anna, carl)
    elsewhere = message_of(await send(client, anna, carl, "elsewhere"))
    here = message_of(await send(client, anna, ben, "here", "c1"))
    for absent in (elsewhere.message_id, new_id(), elsewhere.conversation_id):
        with pytest.raises(MessageNotFound):
            await send(client, anna, ben, "x", reply_to=absent)
    with pytest.raises(Invalid):
        await send(client, anna, ben, "x", reply_to="x")
    with pytest.raises(ClientMessageIdReused):
        await send(client, anna, ben, "here", "c1", reply_to=here.message_id)
    assert await stored(house, anna, ben) == [1]
    # Neither of a conversation that is closed, where a repeat is answered all the same, without the quoted text.
    reply = await send(client, ben, anna, "yes", "c2", reply_to=here.message_id)
    removed = await unfriend(house, anna, ben)
    repeated = await send(client, ben, anna, "yes", "c2", removed, here.message_id)
    assert not repeated.created
    assert repeated.message == reply.message.replace(b',"text":"here"', b"") != reply.message
    for absent in (here.message_id, elsewhere.message_id):
        with pytest.raises(NotFriends):
            await send(client, ben, anna, "more", position=removed, reply_to=absent)


async def react(
    client: Client, user_id: str, peer_id: str, message_id: str, emoji: str, position: str = ""
) -> ReactResponse:
    request = ReactRequest(user_id=user_id, peer_id=peer_id, message_id=message_id, emoji=emoji)
    return await client.call(
        client.stub(MessagingServiceStub).react, request, timeout=10.0, context=seen(position, user_id)
    )


async def reactions(house: House, message_id: str) -> list[tuple[str, object]]:
    """Who reacted with what, by the stream."""
    events = [message.open().data for message in await house.log.read(message_subject(message_id))]
    return [(event.user_id, event.emoji) for event in events if isinstance(event, ReactionChanged)]


async def test_both_react_with_one_emoji_each_also_to_their_own_messages(house: House) -> None:
    anna, ben, _ = await friends(house)
    client, other = house.client("messaging", 0), house.client("messaging", 1)
    message = message_of(await send(client, anna, ben, "Dinner?"))
    # At once over another replica, whose read model may lack the message.
    await react(other, ben, anna, message.message_id, "❤")
    second = await react(client, anna, ben, message.message_id, "👍")
    repeated = await react(other, anna, ben, message.message_id, "👍")
    assert repeated.position == second.position
    page, _ = await messages(client, ben, anna, second.position)
    assert page[0].reactions == [Reaction("❤️", [ben]), Reaction("👍", [anna])]
    changed = await react(other, ben, anna, message.message_id, "👍")
    page, _ = await messages(client, anna, ben, changed.position)
    assert page[0].reactions == [Reaction("👍", [anna, ben])]
    [listed] = await conversations(client, anna, changed.position)
    assert listed.last_message == page[0]
    await react(client, anna, ben, message.message_id, "")
    removed = await react(client, ben, anna, message.message_id, "")
    page, _ = await messages(client, ben, anna, removed.position)
    assert page[0].reactions is UNSET
    again = await react(client, ben, anna, message.message_id, "")
    assert again.position == removed.position
    assert [emoji for _, emoji in await reactions(house, message.message_id)] == ["❤️", "👍", "👍", None, None]
    # Neither the order of the list nor what is unread depends on reactions.
    assert (listed.unread_count, listed.last_message.sequence if listed.last_message else 0) == (0, 1)


async def test_a_person_has_one_reaction_however_many_devices_react_at_once(house: House) -> None:
    anna, ben, _ = await friends(house)
    replicas = house.client("messaging", 0), house.client("messaging", 1)
    message = message_of(await send(replicas[0], anna, ben, "x"))
    emoji = ["👍", "❤️", "😀", "👍", "", "❤️"] * 3
    answers = await asyncio.gather(
        *(react(replicas[turn % 2], ben, anna, message.message_id, each) for turn, each in enumerate(emoji))
    )
    changes = [emoji for _, emoji in await reactions(house, message.message_id)]
    # Each event changes something.
    assert all(one != other for one, other in pairwise([None, *changes]))
    latest = max(answers, key=lambda answer: Position.decode(answer.position).sequence(MESSAGING))
    for client in replicas:
        page, _ = await messages(client, anna, ben, latest.position)
        assert page[0].reactions == ([Reaction(str(changes[-1]), [ben])] if changes[-1] else UNSET)


async def test_a_reaction_and_the_deletion_of_its_message_have_one_order(house: House) -> None:
    anna, ben, _ = await friends(house)
    replicas = house.client("messaging", 0), house.client("messaging", 1)
    for _ in range(6):
        message = message_of(await send(replicas[0], anna, ben, "x"))
        reply = await send(replicas[1], ben, anna, "y", reply_to=message.message_id)
        deletion = asyncio.create_task(delete(replicas[0], anna, ben, message.message_id))
        outcomes = await asyncio.gather(
            *(react(client, ben, anna, message.message_id, emoji) for client in replicas for emoji in ("👍", "❤️", "")),
            return_exceptions=True,
        )
        position = await deletion
        assert all(isinstance(error, MessageHasBeenDeleted) for error in outcomes if isinstance(error, BaseException))
        kinds = [event.open().type for event in await house.log.read(message_subject(message.message_id))]
        assert kinds[-1] == "message.deleted"
        assert kinds.count("message.deleted") == 1
        for emoji in ("👍", ""):
            with pytest.raises(MessageHasBeenDeleted):
                await react(replicas[1], ben, anna, message.message_id, emoji)
        page, _ = await messages(replicas[1], ben, anna, position)
        quoted, gone = page[0], page[1]
        assert (gone.deleted, gone.text, gone.reactions) == (True, "", UNSET)
        assert quoted.message_id == message_of(reply).message_id
        assert quoted.reply_to == Quote(
            message_id=message.message_id, sequence=gone.sequence, sender_id=anna, text="", deleted=True
        )


async def test_friends_react_to_messages_of_their_conversation_with_a_single_emoji(house: House) -> None:
    anna, ben, _ = await friends(house)
    client = house.client("messaging")
    [carl] = await people(house, 1)
    await befriend(house, anna, carl)
    message = message_of(await send(client, anna, ben, "x"))
    for absent in (new_id(), message.conversation_id):
        with pytest.raises(MessageNotFound):
            await react(client, ben, anna, absent, "👍")
    with pytest.raises(MessageNotFound):
        await react(client, carl, anna, message.message_id, "👍")
    for stranger, peer in ((carl, ben), (anna, anna), (ben, new_id())):
        with pytest.raises(NotFriends):
            await react(client, stranger, peer, message.message_id, "👍")
    for text in ("1", "a", "👍👍", "\ufe0f", "👩" + "\u200d👩" * 100):
        with pytest.raises(Invalid) as refusal:
            await react(client, ben, anna, message.message_id, text)
        assert [violation.path for violation in refusal.value.violations] == ["/emoji"]
    assert await reactions(house, message.message_id) == []
    removed = await unfriend(house, anna, ben)
    with pytest.raises(NotFriends):
        await react(client, ben, anna, message.message_id, "👍", removed)


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


async def test_pages_go_both_ways(house: House) -> None:
    anna, ben, _ = await friends(house)
    client = house.client("messaging")
    for number in range(1, 8):
        answer = await send(client, anna, ben, f"text {number}")
    position = answer.position

    async def page(before: int | None = None, after: int | None = None) -> tuple[list[int], bool]:
        found, more = await messages(client, ben, anna, position, before=before, after=after, limit=3)
        return [message.sequence for message in found], more

    assert await page() == ([7, 6, 5], True)
    assert await page(before=5) == ([4, 3, 2], True)
    assert await page(before=2) == ([1], False)
    assert await page(after=0) == ([1, 2, 3], True)
    assert await page(after=4) == ([5, 6, 7], False)
    assert await page(after=7) == ([], False)
    with pytest.raises(Invalid):
        await page(before=5, after=2)


async def test_marks_go_forward_and_show_to_both(house: House) -> None:
    anna, ben, opened = await friends(house)
    client = house.client("messaging")
    (empty,) = await conversations(client, ben, opened)
    assert (empty.user_id, empty.last_message, empty.unread_count) == (anna, None, 0)
    for sequence in (-1, 0, 2**53):
        with pytest.raises(Invalid):
            await mark(client, ben, anna, sequence)
    with pytest.raises(MessageNotFound):
        await mark(client, ben, anna, 1)
    for number in range(1, 6):
        await send(client, anna, ben, f"text {number}")
    position = await mark(client, ben, anna, 3)
    assert await mark(client, ben, anna, 2) == position
    with pytest.raises(MessageNotFound):
        await mark(client, ben, anna, 6)
    (mine,) = await conversations(client, ben, position)
    assert (mine.unread_count, mine.seen_sequence, mine.peer_seen_sequence) == (2, 3, 5)
    assert mine.last_message is not None
    assert mine.last_message.text == "text 5"
    (hers,) = await conversations(client, anna, position)
    assert (hers.unread_count, hers.seen_sequence, hers.peer_seen_sequence) == (0, 5, 3)
    page, _ = await messages(client, anna, ben, position)
    assert [message.seen_at is not UNSET for message in page] == [False, False, True, True, True]


async def test_conversations_come_by_their_latest_activity_in_pages(house: House) -> None:
    anna, *others = await people(house, 5)
    client = house.client("messaging")
    for other in others:
        position = await befriend(house, anna, other)
    await conversations(client, anna, position)
    position = (await send(client, others[1], anna, "hello")).position
    expected = [others[1], others[3], others[2], others[0]]
    assert [found.user_id for found in await conversations(client, anna, position)] == expected
    stub = client.stub(MessagingServiceStub)
    found: list[str] = []
    cursor = ""
    for _ in range(3):
        request = ListConversationsRequest(user_id=anna, limit=3, cursor=cursor)
        page = await client.call(stub.list_conversations, request, context=seen(position))
        found += [each["user_id"] for each in msgspec.json.decode(page.items)]
        cursor = page.next
        if not cursor:
            break
    assert found == expected


async def update(client: Client, user_id: str, peer_id: str, position: str = "", **fields: int | bool | str) -> str:
    stub = client.stub(MessagingServiceStub)
    request = UpdateConversationRequest(user_id=user_id, peer_id=peer_id, **fields)  # type: ignore[arg-type] # by name
    return (
        await client.call(stub.update_conversation, request, timeout=10.0, context=seen(position, user_id))
    ).position


async def test_settings_of_two_devices_at_the_same_moment_are_all_kept(house: House) -> None:
    anna, ben, opened = await friends(house)
    client = house.client("messaging")
    fields = ({"pinned": True}, {"archived": True}, {"muted_until": to_unix_ms(FOREVER)}) * 3
    positions = await asyncio.gather(*(update(client, anna, ben, **each) for each in fields))
    subject = settings(pair_id(anna, ben), anna)
    events = [message.open().data for message in await house.log.read(subject)]
    # Each field was changed once, and the repeats changed nothing.
    assert len(events) == 3
    position = Position.decode(opened)
    for each in positions:
        position = position.merge(Position.decode(each))
    [listed] = await conversations(client, anna, position.encode())
    assert (listed.pinned, listed.archived, listed.muted_until) == (True, True, "forever")
    [others] = await conversations(client, ben, position.encode())
    assert (others.pinned, others.archived, others.muted_until) == (False, False, UNSET)
    # A time that is over ends the mute; once it is ended, another such time changes nothing.
    for past in (1, 0, 1_000):
        await update(client, anna, ben, muted_until=past)
    ended = await update(client, anna, ben)
    assert len(await house.log.read(subject)) == 4
    [listed] = await conversations(client, anna, ended)
    assert (listed.pinned, listed.archived, listed.muted_until) == (True, True, UNSET)
    [event] = [event for event in await missed(client, anna, 0, ended) if event.type == "conversation.updated"]
    assert msgspec.json.decode(event.data) == {
        "user_id": ben,
        "conversation_id": pair_id(anna, ben),
        "pinned": True,
        "archived": True,
    }
    assert not [event for event in await missed(client, ben, 0, ended) if event.type == "conversation.updated"]


async def test_settings_need_the_friendship_and_outlast_it(house: House) -> None:
    anna, ben, _ = await friends(house)
    [cleo] = await people(house, 1)
    client = house.client("messaging")
    await update(client, anna, ben, pinned=True)
    muted = await update(client, anna, ben, muted_until=to_unix_ms(FOREVER))
    for stranger in (cleo, anna, new_id()):
        with pytest.raises(NotFriends):
            await update(client, anna, stranger, pinned=True)
    ended = Position.decode(await unfriend(house, anna, ben)).merge(Position.decode(muted)).encode()
    with pytest.raises(NotFriends):
        await update(client, anna, ben, ended, pinned=False)
    # Loaded before they are friends once more, the mute holds afterwards.
    request = ListMutesRequest(user_id=anna)
    answer = await client.call(client.stub(MessagingServiceStub).list_mutes, request, context=seen(ended))
    assert [mute.peer_id for mute in answer.mutes] == [ben]
    [listed] = await conversations(client, anna, await befriend(house, ben, anna))
    assert (listed.pinned, listed.muted_until) == (True, "forever")


async def test_a_draft_is_the_writers_own_at_any_replica_and_stored_as_no_event(house: House) -> None:
    anna, ben, opened = await friends(house)
    end = await house.log.end_of(MESSAGING)
    for number, text in enumerate(("Hi \N{WAVING HAND SIGN}", ' "quoted" \\ \n', "x" * 4_000)):
        client = house.client("messaging", number % 2)
        assert await update(client, anna, ben, draft=text) == ""
        for replica in (0, 1):
            [listed] = await conversations(house.client("messaging", replica), anna, opened)
            assert listed.draft == text
            [listed] = await conversations(house.client("messaging", replica), ben, opened)
            assert listed.draft is UNSET
    assert await house.log.end_of(MESSAGING) == end
    # What a device sends is not what another one has begun to write.
    position = (await send(client, anna, ben, "sent")).position
    [listed] = await conversations(client, anna, position)
    assert listed.draft == "x" * 4_000
    position = await update(client, anna, ben, draft="", pinned=True)
    [listed] = await conversations(client, anna, position)
    assert (listed.draft, listed.pinned) == (UNSET, True)
    for wrong in ("x" * 4_001, "\0"):
        with pytest.raises(Invalid):
            await update(client, anna, ben, draft=wrong)
    [cleo] = await people(house, 1)
    with pytest.raises(NotFriends):
        await update(client, cleo, ben, draft="text")


async def list_notifications(client: Client, user_id: str, position: str) -> list[Notification]:
    stub = client.stub(MessagingServiceStub)
    request = ListNotificationsRequest(user_id=user_id)
    return (await client.call(stub.list_notifications, request, context=seen(position))).notifications


async def test_notifications_are_delivered_and_read_once(house: House) -> None:
    anna, ben, opened = await friends(house)
    one, other = house.client("messaging", 0), house.client("messaging", 1)
    assert [found.kind for found in await list_notifications(one, anna, opened)] == ["friend_accepted"]
    position = (await send(one, anna, ben, "hello")).position
    found = await list_notifications(one, ben, position)
    assert [(each.kind, each.from_user_id, each.read) for each in found] == [
        ("message", anna, False),
        ("friend_request", anna, False),
    ]
    ids = [each.notification_id for each in found]
    request = MarkNotificationsReadRequest(user_id=ben, notification_ids=[ids[0], new_id()])
    answers = await asyncio.gather(
        *(
            client.call(client.stub(MessagingServiceStub).mark_notifications_read, request, context=seen(position))
            for client in (one, other, one, other)
        )
    )
    assert len({answer.position for answer in answers}) == 1
    (event,) = [message.open() for message in await house.log.read(notifications(ben))]
    assert event.data == NotificationRead(notification_ids=(ids[0],))
    read = await list_notifications(other, ben, answers[0].position)
    assert [each.read for each in read] == [True, False]


async def test_all_up_to_a_notification_are_read_by_one_event_however_often_it_is_asked(house: House) -> None:
    anna, ben, _ = await friends(house)
    one, other = house.client("messaging", 0), house.client("messaging", 1)
    position = (await send(one, anna, ben, "hello")).position
    last = (await list_notifications(one, ben, position))[0]
    request = MarkNotificationsReadRequest(user_id=ben, up_to=last.notification_id)
    answers = await asyncio.gather(
        *(
            client.call(client.stub(MessagingServiceStub).mark_notifications_read, request, context=seen(position))
            for client in (one, other, one, other)
        )
    )
    (event,) = [message.open() for message in await house.log.read(notifications(ben))]
    assert isinstance(event.data, NotificationRead)
    assert event.data.notification_ids == (last.notification_id,)
    assert [each.read for each in await list_notifications(other, ben, answers[0].position)] == [True, True]
    later = (await send(one, anna, ben, "later")).position
    assert [each.read for each in await list_notifications(other, ben, later)] == [False, True, True]
    # A client that was away gets the one event, and what is unread.
    stub = other.stub(MessagingServiceStub)
    since = BackfillNotificationsRequest(user_id=ben, stream="MESSAGING")
    told = [event async for event in other.stream(stub.backfill_notifications, since, context=seen(later))]
    assert [event.type for event in told] == ["notification.read", "notification.created"]
    assert msgspec.json.decode(told[0].data) == {
        "notification_ids": [last.notification_id],
        "up_to": last.notification_id,
    }
    # The same for what is read by conversation.
    [newest, *_] = await list_notifications(other, ben, later)
    by_conversation = MarkNotificationsReadRequest(
        user_id=ben, notification_ids=[newest.notification_id], by_conversation=True
    )
    read = (await other.call(stub.mark_notifications_read, by_conversation)).position
    told = [event async for event in other.stream(stub.backfill_notifications, since, context=seen(read))]
    assert [event.type for event in told] == ["notification.read"] * 2
    assert msgspec.json.decode(told[1].data) == {
        "notification_ids": [newest.notification_id],
        "from_user_ids": [anna],
    }


async def missed(client: Client, user_id: str, after: int, position: str, *, most_bytes: int = 0) -> list[ClientEvent]:
    stub = client.stub(MessagingServiceStub)
    request = BackfillRequest(user_id=user_id, after=after, most_bytes=most_bytes)
    return [event async for event in client.stream(stub.backfill, request, context=seen(position))]


async def test_a_client_that_was_away_receives_messages_in_order(house: House) -> None:
    anna, ben, _ = await friends(house)
    cleo = (await people(house, 1))[0]
    await befriend(house, anna, cleo)
    client = house.client("messaging")
    await send(client, anna, ben, "one")
    await mark(client, ben, anna, 1)
    await send(client, cleo, anna, "two")
    position = (await send(client, anna, ben, "three")).position
    events = await missed(client, anna, 0, position)
    told = [(event.type, msgspec.json.decode(event.data)) for event in events]
    assert [kind for kind, _ in told] == ["message.sent", "message.seen", "message.sent", "message.sent"]
    assert told[0][1] == told[0][1] | {"user_id": ben, "sender_id": anna, "sequence": 1, "text": "one"}
    assert told[1][1] == told[1][1] | {"user_id": ben, "sequence": 1, "conversation_id": pair_id(anna, ben)}
    assert told[2][1] == told[2][1] | {"user_id": cleo, "sender_id": cleo}
    assert [event.sequence for event in events] == sorted(event.sequence for event in events)
    assert [event.sequence for event in await missed(client, anna, events[1].sequence, position)] == [
        event.sequence for event in events[2:]
    ]
    removed = await unfriend(house, anna, cleo)
    rest = await missed(client, anna, 0, removed)
    assert [event.type for event in rest] == ["message.sent", "message.seen", "message.sent"]


async def test_an_answer_of_what_was_missed_ends_at_its_bound_of_bytes_and_goes_on_from_there(house: House) -> None:
    anna, ben, _ = await friends(house)
    client = house.client("messaging")
    # More than is read from the database at once.
    for number in range(50):
        position = (await send(client, anna, ben, f"{number:02}" + "🦉" * 3_990)).position
    every = await missed(client, ben, 0, position)
    assert len(every) == 50
    found: list[ClientEvent] = []
    while part := await missed(client, ben, found[-1].sequence if found else 0, position, most_bytes=40_000):
        assert len(part) <= 3
        assert sum(len(event.data) for event in part[:-1]) < 40_000
        found += part
    assert found == every


async def edit(
    client: Client, user_id: str, peer_id: str, message_id: str, text: str, position: str = ""
) -> SentMessage:
    request = EditMessageRequest(user_id=user_id, peer_id=peer_id, message_id=message_id, text=text)
    stub = client.stub(MessagingServiceStub)
    answer = await client.call(stub.edit_message, request, timeout=10.0, context=seen(position, user_id))
    return msgspec.json.decode(answer.message, type=SentMessage)


async def delete(client: Client, user_id: str, peer_id: str, message_id: str, position: str = "") -> str:
    request = DeleteMessageRequest(user_id=user_id, peer_id=peer_id, message_id=message_id)
    stub = client.stub(MessagingServiceStub)
    return (await client.call(stub.delete_message, request, timeout=10.0, context=seen(position, user_id))).position


async def changes(house: House, message_id: str) -> list[str]:
    return [stored.envelope().type for stored in await house.log.read(message_subject(message_id))]


async def test_a_message_is_edited_and_deleted_for_both_wherever_it_is_shown(house: House) -> None:
    anna, ben, _ = await friends(house)
    client, other = house.client("messaging", 0), house.client("messaging", 1)
    first = message_of(await send(client, anna, ben, "tpyo"))
    reply = await send(other, ben, anna, "what?", reply_to=first.message_id)
    before, _ = await messages(client, ben, anna, reply.position)
    # At once, over another replica and without a position: the read model may lack the message.
    edited = await edit(other, anna, ben, first.message_id, "typo")
    assert (edited.text, edited.message_id, edited.sequence) == ("typo", first.message_id, 1)
    assert edited.edited_at is not UNSET
    # The text that it has is no edit.
    assert await edit(client, anna, ben, first.message_id, "typo") == edited
    assert await changes(house, first.message_id) == ["message.edited"]
    end = Position.at(MESSAGING, await house.log.last_sequence(message_subject(first.message_id))).encode()
    for user_id, peer_id in ((anna, ben), (ben, anna)):
        # Twice: a page that was kept before is not shown.
        for _ in range(2):
            page, _ = await messages(client, user_id, peer_id, end)
            assert page[1] == msgspec.structs.replace(before[1], text="typo", edited_at=edited.edited_at)
            assert page[0].reply_to == Quote(message_id=first.message_id, sequence=1, sender_id=anna, text="typo")
    # Ben saw it by replying; an edit changes neither order nor what is unread.
    [listed] = await conversations(client, anna, end)
    assert (listed.unread_count, listed.last_message and listed.last_message.sequence) == (1, 2)

    position = await delete(client, anna, ben, first.message_id)
    assert await delete(other, anna, ben, first.message_id) == position
    assert await changes(house, first.message_id) == ["message.edited", "message.deleted"]
    for text in ("typo", "tpyo", "more"):
        with pytest.raises(MessageHasBeenDeleted):
            await edit(client, anna, ben, first.message_id, text)
    for user_id, peer_id in ((anna, ben), (ben, anna)):
        page, _ = await messages(other, user_id, peer_id, position)
        assert page[1] == msgspec.structs.replace(before[1], text="", deleted=True)
        assert page[0].reply_to == Quote(message_id=first.message_id, sequence=1, sender_id=anna, text="", deleted=True)
    again = message_of(await send(client, ben, anna, "hm", "c9", reply_to=first.message_id))
    assert again.reply_to == page[0].reply_to
    # A deleted last message keeps its place in the list.
    gone = await delete(client, ben, anna, again.message_id)
    [listed] = await conversations(other, anna, gone)
    assert listed.last_message is not None
    assert (listed.last_message.sequence, listed.last_message.text, listed.last_message.deleted) == (3, "", True)


async def test_only_the_sender_changes_a_message_and_only_among_friends(house: House) -> None:
    anna, ben, _ = await friends(house)
    [carl] = await people(house, 1)
    await befriend(house, anna, carl)
    client = house.client("messaging")
    here = message_of(await send(client, anna, ben, "here")).message_id
    elsewhere = message_of(await send(client, anna, carl, "elsewhere")).message_id
    for user_id, peer_id, message_id, refusal in (
        (ben, anna, here, NotSender),
        (carl, anna, here, MessageNotFound),
        (carl, ben, here, NotFriends),
        (anna, ben, elsewhere, MessageNotFound),
        (anna, ben, new_id(), MessageNotFound),
        (anna, anna, here, NotFriends),
        (anna, new_id(), here, NotFriends),
    ):
        with pytest.raises(refusal):
            await edit(client, user_id, peer_id, message_id, "x")
        with pytest.raises(refusal):
            await delete(client, user_id, peer_id, message_id)
    for text in ("", "x" * 4001, "a\x00b", " \u3000\n"):
        with pytest.raises(Invalid):
            await edit(client, anna, ben, here, text)
    removed = await unfriend(house, anna, ben)
    with pytest.raises(NotFriends):
        await edit(client, anna, ben, here, "x", removed)
    with pytest.raises(NotFriends):
        await delete(client, anna, ben, here, removed)
    assert await changes(house, here) == []
    await befriend(house, ben, anna)
    await delete(client, anna, ben, here)
    # Others than its sender learn no more about a deleted message.
    with pytest.raises(NotSender):
        await delete(client, ben, anna, here)


async def test_an_old_message_is_not_edited_but_deleted(house: House) -> None:
    anna, ben, _ = await friends(house)
    old = MessageSent(
        message_id=new_id(), sender_id=anna, recipient_id=ben, sequence=1, text="old", client_message_id="c1"
    )
    pair = pair_id(anna, ben)
    sealed = seal(old, aggregate_id=pair, version=1, provenance=Provenance(), at=now() - timedelta(hours=48, minutes=1))
    await house.log.append(Append(subject=conversation(pair), expected=0, envelope=sealed))
    client = house.client("messaging")
    with pytest.raises(EditWindowOver):
        await edit(client, anna, ben, old.message_id, "new")
    assert (await edit(client, anna, ben, old.message_id, "old")).text == "old"
    await delete(client, anna, ben, old.message_id)
    assert await changes(house, old.message_id) == ["message.deleted"]


async def test_a_deletion_reads_the_last_change_alone(house: House) -> None:
    anna, ben, _ = await friends(house)
    client = house.client("messaging")
    sent = message_of(await send(client, anna, ben, "text"))
    thousandth = ReactionChanged(
        message_id=sent.message_id,
        conversation_id=sent.conversation_id,
        sequence=sent.sequence,
        sender_id=anna,
        sent_at=now(),
        members=tuple(sorted((anna, ben))),
        user_id=ben,
        emoji="👍",
    )
    # The changes before it are not there to be read.
    sealed = seal(thousandth, aggregate_id=sent.message_id, version=1_000, provenance=Provenance())
    await house.log.append(Append(subject=message_subject(sent.message_id), expected=0, envelope=sealed))
    position = await delete(client, anna, ben, sent.message_id)
    assert await changes(house, sent.message_id) == ["reaction.changed", "message.deleted"]
    assert await delete(house.client("messaging", 1), anna, ben, sent.message_id) == position


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


async def test_changes_at_the_same_moment_have_one_order(house: House) -> None:
    anna, ben, _ = await friends(house)
    devices = [house.client("messaging", number) for number in (0, 1)]
    sent = message_of(await send(devices[0], anna, ben, "0"))

    async def change(number: int) -> SentMessage | str | MessageHasBeenDeleted:
        device = devices[number % 2]
        try:
            if number in (8, 9):
                return await delete(device, anna, ben, sent.message_id)
            return await edit(device, anna, ben, sent.message_id, str(number))
        except MessageHasBeenDeleted as error:
            return error

    outcomes = await asyncio.gather(*(change(number) for number in range(1, 13)))
    kinds = await changes(house, sent.message_id)
    edited = [outcome for outcome in outcomes if isinstance(outcome, SentMessage)]
    assert kinds == ["message.edited"] * len(edited) + ["message.deleted"]
    [position, repeated] = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert position == repeated
    [shown], _ = await messages(devices[1], ben, anna, position)
    assert (shown.text, shown.deleted) == ("", True)


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


async def test_who_was_away_gets_each_change_once_and_the_message_as_it_is_now(house: House) -> None:
    anna, ben, _ = await friends(house)
    client = house.client("messaging")
    sent = [await send(client, anna, ben, text) for text in ("one", "two", "three", "four")]
    ids = [message_of(answer).message_id for answer in sent]
    away = Position.decode(sent[2].position).sequence(MESSAGING)
    await edit(client, anna, ben, ids[0], "1")
    await edit(client, anna, ben, ids[1], "2")
    await edit(client, anna, ben, ids[3], "4")
    await edit(client, anna, ben, ids[0], "1st")
    position = await delete(client, anna, ben, ids[1])
    events = await missed(client, ben, away, position)
    told = [(event.type, msgspec.json.decode(event.data, type=LiveMessage)) for event in events]
    assert [(kind, shown.sequence, shown.text, shown.deleted) for kind, shown in told] == [
        ("message.sent", 4, "4", UNSET),
        ("message.edited", 4, "4", UNSET),
        ("message.edited", 1, "1st", UNSET),
        ("message.deleted", 2, "", True),
    ]
    assert all(shown.user_id == anna for _, shown in told)
    assert [event.sequence for event in events] == sorted({event.sequence for event in events})
    found: list[ClientEvent] = []
    while part := await missed(client, ben, found[-1].sequence if found else away, position, most_bytes=1):
        assert len(part) == 1
        found += part
    assert found == events
    assert await missed(client, ben, events[-1].sequence, position) == []


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
