"""What a reader has of conversations over real gRPC: pages, marks, lists, settings, notifications, missed events."""

import asyncio

import msgspec
import pytest
from msgspec import UNSET

from contracts.errors import Invalid, MessageNotFound, NotFriends
from contracts.events.message import FOREVER, NotificationRead
from contracts.positions import Position
from contracts.rpc.vestnik.messaging.v1 import (
    BackfillNotificationsRequest,
    ClientEvent,
    ListConversationsRequest,
    ListMutesRequest,
    MarkNotificationsReadRequest,
    MessagingServiceStub,
)
from contracts.subjects import MESSAGING, notifications, settings
from contracts.values.ids import new_id, pair_id
from contracts.values.timestamps import to_unix_ms
from tests.integration.messaging.messaging_calls import (
    befriend,
    conversations,
    friends,
    list_notifications,
    mark,
    messages,
    missed,
    send,
    unfriend,
    update,
)
from tests.integration.service_cluster import House, people, seen

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_pages_go_both_ways(house: House) -> None:
    anna, ben, _ = await friends(house)
    client = house.client("messaging")
    for number in range(1, 8):
        answer = await send(client, anna, ben, f"text {number}")
    position = answer.position

    async def page(before: int | None = None, after: int | None = None) -> tuple[list[int], bool]:
        listed, more = await messages(client, ben, anna, position, before=before, after=after, limit=3)
        return [message.sequence for message in listed], more

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
    assert [item.user_id for item in await conversations(client, anna, position)] == expected
    stub = client.stub(MessagingServiceStub)
    peer_ids: list[str] = []
    cursor = ""
    for _ in range(3):
        request = ListConversationsRequest(user_id=anna, limit=3, cursor=cursor)
        page = await client.call(stub.list_conversations, request, context=seen(position))
        peer_ids += [decoded["user_id"] for decoded in msgspec.json.decode(page.items)]
        cursor = page.next
        if not cursor:
            break
    assert peer_ids == expected


async def test_settings_of_two_devices_at_the_same_moment_are_all_kept(house: House) -> None:
    anna, ben, opened = await friends(house)
    client = house.client("messaging")
    fields = ({"pinned": True}, {"archived": True}, {"muted_until": to_unix_ms(FOREVER)}) * 3
    positions = await asyncio.gather(*(update(client, anna, ben, **field) for field in fields))
    subject = settings(pair_id(anna, ben), anna)
    events = [message.open().data for message in await house.log.read(subject)]
    # Each field was changed once, and the repeats changed nothing.
    assert len(events) == 3
    position = Position.decode(opened)
    for encoded in positions:
        position = position.merge(Position.decode(encoded))
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


async def test_notifications_are_delivered_and_read_once(house: House) -> None:
    anna, ben, opened = await friends(house)
    one, other = house.client("messaging", 0), house.client("messaging", 1)
    assert [notification.kind for notification in await list_notifications(one, anna, opened)] == ["friend_accepted"]
    position = (await send(one, anna, ben, "hello")).position
    listed = await list_notifications(one, ben, position)
    assert [(item.kind, item.from_user_id, item.read) for item in listed] == [
        ("message", anna, False),
        ("friend_request", anna, False),
    ]
    ids = [item.notification_id for item in listed]
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
    assert [item.read for item in read] == [True, False]


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
    assert [item.read for item in await list_notifications(other, ben, answers[0].position)] == [True, True]
    later = (await send(one, anna, ben, "later")).position
    assert [item.read for item in await list_notifications(other, ben, later)] == [False, True, True]
    # A client that was away gets the one event, and what is unread.
    stub = other.stub(MessagingServiceStub)
    since = BackfillNotificationsRequest(user_id=ben, stream="MESSAGING")
    missed_events = [event async for event in other.stream(stub.backfill_notifications, since, context=seen(later))]
    assert [event.type for event in missed_events] == ["notification.read", "notification.created"]
    assert msgspec.json.decode(missed_events[0].data) == {
        "notification_ids": [last.notification_id],
        "up_to": last.notification_id,
    }
    # The same for what is read by conversation.
    [newest, *_] = await list_notifications(other, ben, later)
    by_conversation = MarkNotificationsReadRequest(
        user_id=ben, notification_ids=[newest.notification_id], by_conversation=True
    )
    read = (await other.call(stub.mark_notifications_read, by_conversation)).position
    missed_events = [event async for event in other.stream(stub.backfill_notifications, since, context=seen(read))]
    assert [event.type for event in missed_events] == ["notification.read"] * 2
    assert msgspec.json.decode(missed_events[1].data) == {
        "notification_ids": [newest.notification_id],
        "from_user_ids": [anna],
    }


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
    missed_events = [(event.type, msgspec.json.decode(event.data)) for event in events]
    assert [kind for kind, _ in missed_events] == ["message.sent", "message.seen", "message.sent", "message.sent"]
    assert missed_events[0][1] == missed_events[0][1] | {
        "user_id": ben,
        "sender_id": anna,
        "sequence": 1,
        "text": "one",
    }
    assert missed_events[1][1] == missed_events[1][1] | {
        "user_id": ben,
        "sequence": 1,
        "conversation_id": pair_id(anna, ben),
    }
    assert missed_events[2][1] == missed_events[2][1] | {"user_id": cleo, "sender_id": cleo}
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
    events: list[ClientEvent] = []
    while part := await missed(client, ben, events[-1].sequence if events else 0, position, most_bytes=40_000):
        assert len(part) <= 3
        assert sum(len(event.data) for event in part[:-1]) < 40_000
        events += part
    assert events == every
