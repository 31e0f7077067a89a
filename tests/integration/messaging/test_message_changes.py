"""Replies, reactions, edits and deletions over real gRPC, with two replicas that share only the stream."""

import asyncio
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
)
from contracts.events.message import MessageSent, ReactionChanged
from contracts.messages import LiveMessage, Quote, Reaction, SentMessage
from contracts.positions import Position
from contracts.rpc.vestnik.messaging.v1 import ClientEvent, GetQuotesRequest, MessagingServiceStub, QuotedMessage
from contracts.subjects import MESSAGING, conversation
from contracts.subjects import message as message_subject
from contracts.values.field_types import MOST_QUOTES
from contracts.values.ids import new_id, pair_id
from streams.log import Append
from tests.integration.messaging.messaging_calls import (
    befriend,
    changes,
    conversations,
    delete,
    edit,
    friends,
    message_of,
    messages,
    missed,
    react,
    reactions,
    send,
    stored,
    unfriend,
)
from tests.integration.service_cluster import House, people, seen

pytestmark = pytest.mark.asyncio(loop_scope="module")


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
        *(react(replicas[turn % 2], ben, anna, message.message_id, reaction) for turn, reaction in enumerate(emoji))
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
    missed_messages = [(event.type, msgspec.json.decode(event.data, type=LiveMessage)) for event in events]
    assert [(kind, shown.sequence, shown.text, shown.deleted) for kind, shown in missed_messages] == [
        ("message.sent", 4, "4", UNSET),
        ("message.edited", 4, "4", UNSET),
        ("message.edited", 1, "1st", UNSET),
        ("message.deleted", 2, "", True),
    ]
    assert all(shown.user_id == anna for _, shown in missed_messages)
    assert [event.sequence for event in events] == sorted({event.sequence for event in events})
    missed_events: list[ClientEvent] = []
    while part := await missed(
        client, ben, missed_events[-1].sequence if missed_events else away, position, most_bytes=1
    ):
        assert len(part) == 1
        missed_events += part
    assert missed_events == events
    assert await missed(client, ben, events[-1].sequence, position) == []
