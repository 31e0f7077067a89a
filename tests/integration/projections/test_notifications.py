"""Which user gets which notification, and that read ones stay read."""

from datetime import UTC, datetime

from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved
from contracts.events.message import (
    FOREVER,
    ConversationUpdated,
    MessageDeleted,
    MessageSeen,
    MessageSent,
    MessagesRead,
    NotificationRead,
)
from contracts.events.session import AccountAlerted
from contracts.values.ids import new_id, pair_id
from projections.notifications import Notifications
from tests.fix_read_models import OpenReadModel

ANNA, BORIS = new_id(), new_id()
PAIR = pair_id(ANNA, BORIS)
UNREAD = """
    SELECT user_id, kind, from_user_id FROM {notifications} AS n
    WHERE NOT EXISTS (SELECT FROM {notification_reads} AS r WHERE r.notification_id = n.notification_id) ORDER BY at
"""


def message(sender: str, recipient: str, sequence: int) -> MessageSent:
    return MessageSent(
        message_id=new_id(),
        sender_id=sender,
        recipient_id=recipient,
        sequence=sequence,
        text="Hi",
        client_message_id=str(sequence),
    )


async def test_the_recipient_gets_a_notification(read_model: OpenReadModel) -> None:
    model = await read_model(Notifications)
    await model.given(FriendshipCreated(requester_id=ANNA, addressee_id=BORIS), at="2026-01-31T12:00:00Z")
    await model.when(FriendshipAccepted(requester_id=ANNA, addressee_id=BORIS))
    await model.when(message(BORIS, ANNA, 1), FriendshipRemoved(remover_id=ANNA, other_id=BORIS))
    assert await model.rows(UNREAD) == [
        (BORIS, "friend_request", ANNA),
        (ANNA, "friend_accepted", BORIS),
        (ANNA, "message", BORIS),
    ]
    ((of_message,),) = await model.rows("SELECT notification_id FROM {notifications} WHERE kind = 'message'")
    await model.when(NotificationRead(notification_ids=(str(of_message),)), of=ANNA)
    assert [kind for _, kind, _ in await model.rows(UNREAD)] == ["friend_request", "friend_accepted"]


async def test_a_reminder_is_the_addressees_and_a_cancellation_the_requesters(read_model: OpenReadModel) -> None:
    model = await read_model(Notifications)
    asked = datetime(2026, 1, 31, 12, tzinfo=UTC)
    await model.given(FriendshipCreated(requester_id=ANNA, addressee_id=BORIS), at=asked)
    await model.when(FriendshipCreated(requester_id=ANNA, addressee_id=BORIS, requested_at=asked))
    await model.when(FriendshipRemoved(remover_id=ANNA, other_id=BORIS, expired=True))
    assert await model.rows(UNREAD) == [
        (BORIS, "friend_request", ANNA),
        (BORIS, "friend_reminder", ANNA),
        (ANNA, "friend_expired", BORIS),
    ]
    # To someone who blocks.
    await model.when(FriendshipCreated(requester_id=ANNA, addressee_id=BORIS, requested_at=asked, blocked_by=(BORIS,)))
    assert len(await model.rows(UNREAD)) == 3


async def test_an_alert_is_for_the_owner_of_the_account_alone(read_model: OpenReadModel) -> None:
    model = await read_model(Notifications)
    await model.given(message(BORIS, ANNA, 1), at="2026-01-31T12:00:00Z")
    await model.when(AccountAlerted(user_id=ANNA, kind="new_device", about=new_id(), session_id=new_id()))
    await model.when(AccountAlerted(user_id=BORIS, kind="password_changed", about=new_id()))
    assert await model.rows(UNREAD) == [
        (ANNA, "message", BORIS),
        (ANNA, "new_device", ANNA),
        (BORIS, "password_changed", BORIS),
    ]


async def test_a_request_to_someone_who_blocks_the_requester_notifies_nobody(read_model: OpenReadModel) -> None:
    model = await read_model(Notifications)
    await model.given(FriendshipCreated(requester_id=ANNA, addressee_id=BORIS))
    await model.when(FriendshipCreated(requester_id=BORIS, addressee_id=ANNA, blocked_by=(ANNA,)))
    assert await model.rows("SELECT user_id FROM {notifications}") == [(BORIS,)]


async def test_the_latest_of_marks_and_answers_says_how_far_messages_were_seen(
    read_model: OpenReadModel,
) -> None:
    model = await read_model(Notifications)
    messages = [message(BORIS, ANNA, sequence) for sequence in (1, 2)]
    await model.given(*messages, MessageSeen(conversation_id=PAIR, reader_id=ANNA, peer_id=BORIS, sequence=1))
    await model.when(MessageSeen(conversation_id=PAIR, reader_id=ANNA, peer_id=BORIS, sequence=2))
    await model.when(message(BORIS, ANNA, 3), message(ANNA, BORIS, 4), message(BORIS, ANNA, 5))
    assert await model.rows("SELECT user_id, from_user_id, sequence FROM {seen_messages} ORDER BY sequence") == [
        (ANNA, BORIS, 4),
        (BORIS, ANNA, 5),
    ]
    assert await model.rows("SELECT user_id, sequence FROM {notifications} ORDER BY sequence") == [
        (ANNA, 1),
        (ANNA, 2),
        (ANNA, 3),
        (BORIS, 4),
        (ANNA, 5),
    ]


async def test_reading_all_up_to_one_is_a_single_row(read_model: OpenReadModel) -> None:
    model = await read_model(Notifications)
    last, at = new_id(), datetime(2026, 1, 31, 12, tzinfo=UTC)
    await model.given(FriendshipCreated(requester_id=BORIS, addressee_id=ANNA))
    await model.when(NotificationRead(notification_ids=(last,), up_to=at), of=ANNA)
    assert await model.rows("SELECT user_id, notification_id, at FROM {read_through}") == [(ANNA, last, at)]
    assert await model.rows("SELECT * FROM {notification_reads}") == []


async def test_marks_by_conversation_deletions_and_mutes_have_a_row_each(read_model: OpenReadModel) -> None:
    model = await read_model(Notifications)
    first = message(BORIS, ANNA, 1)
    await model.given(first, message(BORIS, ANNA, 2), message(BORIS, ANNA, 3))
    one, other = new_id(), new_id()
    for sequence, notification in ((1, one), (2, other)):
        mark = MessagesRead(notification_id=notification, from_user_id=BORIS, sequence=sequence)
        await model.when(NotificationRead(notification_ids=(), messages=(mark,)), of=ANNA)
    assert await model.rows("SELECT user_id, from_user_id, notification_id FROM {conversation_reads}") == [
        (ANNA, BORIS, other)
    ]
    seen = f"SELECT from_user_id, sequence FROM {{seen_messages}} WHERE user_id = '{ANNA}'"
    assert await model.rows(seen) == [(BORIS, 2)]
    deleted = MessageDeleted(
        message_id=first.message_id,
        conversation_id=PAIR,
        sequence=1,
        sender_id=BORIS,
        sent_at=datetime(2026, 1, 31, 12, tzinfo=UTC),
        members=(ANNA, BORIS),
    )
    await model.when(deleted)
    assert await model.rows("SELECT user_id, from_user_id, sequence FROM {deleted_messages}") == [(ANNA, BORIS, 1)]
    for muted_until in (FOREVER, None):
        settings = ConversationUpdated(
            conversation_id=PAIR, user_id=ANNA, members=(ANNA, BORIS), muted_until=muted_until
        )
        await model.when(settings, of=f"{PAIR}.{ANNA}")
        assert await model.rows("SELECT user_id, from_user_id, muted_until FROM {mutes}") == [
            (ANNA, BORIS, muted_until)
        ]
    await model.follows_from_the_events_alone()
