from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from contracts.envelope import Recorded, now
from contracts.events.event import Event
from contracts.events.friendship import (
    FriendshipAccepted,
    FriendshipBlocked,
    FriendshipCreated,
    FriendshipRemoved,
    FriendshipUnblocked,
)
from contracts.events.message import (
    FOREVER,
    ConversationUpdated,
    MessageDeleted,
    MessageEdited,
    MessageSeen,
    MessageSent,
    MessagesRead,
    NotificationRead,
    ReactionChanged,
    RepliedTo,
)
from contracts.events.session import AccountAlerted, SessionRefreshed, SessionRevoked
from contracts.values.ids import new_id, notification_id
from contracts.values.timestamps import rfc3339
from services.gateway.cache.quote_texts import Quoted
from services.gateway.live.fanout import fan_out

ANNA, BORIS, AGGREGATE = new_id(), new_id(), new_id()


def recorded(event: Event) -> Recorded[Event]:
    return Recorded(
        stream="X",
        sequence=7,
        subject="s",
        id="an event",
        type=event.TYPE,
        aggregate_id=AGGREGATE,
        version=1,
        at=now(),
        actor=None,
        correlation_id=None,
        causation_id=None,
        data=event,
    )


SENT = MessageSent(
    message_id="m", sender_id=ANNA, recipient_id=BORIS, sequence=3, text="Hi\n\u2028", client_message_id="c"
)
CHANGED: dict[str, Any] = {
    "message_id": "m",
    "conversation_id": AGGREGATE,
    "sequence": 3,
    "sender_id": ANNA,
    "sent_at": now(),
    "members": (ANNA, BORIS),
}
REACTED = ReactionChanged(user_id=BORIS, emoji="👍", **CHANGED)
CASES: list[tuple[Event, list[tuple[str, str, set[str]]]]] = [
    (SENT, [("MESSAGING", "message.sent", {ANNA, BORIS}), ("m", "notification.created", {BORIS})]),
    (MessageEdited(text="Ho\n", **CHANGED), [("MESSAGING", "message.edited", {ANNA, BORIS})]),
    (MessageDeleted(**CHANGED), [("MESSAGING", "message.deleted", {ANNA, BORIS})]),
    (
        MessageSeen(conversation_id=AGGREGATE, reader_id=ANNA, peer_id=BORIS, sequence=2),
        [("MESSAGING", "message.seen", {ANNA, BORIS})],
    ),
    (
        ConversationUpdated(conversation_id=AGGREGATE, user_id=ANNA, members=(ANNA, BORIS), pinned=True),
        [("MESSAGING", "conversation.updated", {ANNA})],
    ),
    (REACTED, [("MESSAGING", "reaction.changed", {ANNA, BORIS})]),
    (NotificationRead(notification_ids=("n",)), [("m", "notification.read", {AGGREGATE})]),
    (NotificationRead(notification_ids=("n",), up_to=now()), [("m", "notification.read", {AGGREGATE})]),
    (
        FriendshipCreated(requester_id=ANNA, addressee_id=BORIS),
        [("CONTACT", "friendship.created", {ANNA, BORIS}), ("c", "notification.created", {BORIS})],
    ),
    (
        FriendshipAccepted(requester_id=ANNA, addressee_id=BORIS),
        [("CONTACT", "friendship.accepted", {ANNA, BORIS}), ("c", "notification.created", {ANNA})],
    ),
    (FriendshipRemoved(remover_id=ANNA, other_id=BORIS), [("CONTACT", "friendship.removed", {ANNA, BORIS})]),
    (
        FriendshipCreated(requester_id=ANNA, addressee_id=BORIS, blocked_by=(BORIS,)),
        [("CONTACT", "friendship.created", {ANNA})],
    ),
    (
        FriendshipCreated(requester_id=ANNA, addressee_id=BORIS, requested_at=now()),
        [("c", "notification.created", {BORIS})],
    ),
    (FriendshipCreated(requester_id=ANNA, addressee_id=BORIS, requested_at=now(), blocked_by=(BORIS,)), []),
    (
        FriendshipRemoved(remover_id=ANNA, other_id=BORIS, expired=True),
        [("CONTACT", "friendship.removed", {ANNA, BORIS}), ("c", "notification.created", {ANNA})],
    ),
    (
        FriendshipRemoved(remover_id=BORIS, other_id=ANNA, blocked_by=(BORIS,)),
        [("CONTACT", "friendship.removed", {ANNA})],
    ),
    (
        FriendshipRemoved(remover_id=BORIS, other_id=ANNA, request_goes_on=True),
        [("CONTACT", "friendship.removed", {BORIS})],
    ),
    (
        FriendshipBlocked(blocker_id=BORIS, blocked_id=ANNA, blocked_by=(BORIS,)),
        [("CONTACT", "block.changed", {BORIS})],
    ),
    (FriendshipUnblocked(blocker_id=BORIS, blocked_id=ANNA), [("CONTACT", "block.changed", {BORIS})]),
    (SessionRevoked(user_id=ANNA, reason="logout"), [("SESSION", "session.revoked", {ANNA})]),
    (AccountAlerted(user_id=ANNA, kind="new_device", about="e"), [("s", "notification.created", {ANNA})]),
    (SessionRefreshed(user_id=ANNA, generation=2, expires_at=now()), []),
]
CHANNELS = {"c": "CONTACT notifications", "m": "MESSAGING notifications", "s": "SESSION notifications"}


@pytest.mark.parametrize(("event", "wanted"), CASES, ids=[event.TYPE for event, _ in CASES])
def test_an_event_is_delivered_to_the_users_that_it_is_about_and_to_no_others(
    event: Event, wanted: list[tuple[str, str, set[str]]]
) -> None:
    outbound_events = list(fan_out(recorded(event)))
    assert [(outbound.channel, outbound.type, set(outbound.payload_by_user)) for outbound in outbound_events] == [
        (CHANNELS.get(channel, channel), kind, receivers) for channel, kind, receivers in wanted
    ]
    assert {outbound.sequence for outbound in outbound_events} <= {7}
    for outbound in outbound_events:
        for data in outbound.payload_by_user.values():
            # One line of JSON, whatever is in it: so a line of server-sent events.
            assert b"\n" not in data
            assert msgspec.json.decode(data)


def test_each_of_two_receives_the_others_events() -> None:
    [message, _] = fan_out(recorded(SENT))
    shown = {user_id: msgspec.json.decode(data) for user_id, data in message.payload_by_user.items()}
    assert (shown[ANNA]["user_id"], shown[BORIS]["user_id"]) == (BORIS, ANNA)
    assert shown[ANNA]["text"] == "Hi\n\u2028"


def test_a_reply_names_the_message_that_it_answers() -> None:
    answered = RepliedTo(message_id="a", sequence=2, sender_id=BORIS)
    [message, _] = fan_out(recorded(msgspec.structs.replace(SENT, reply_to=answered)))
    [edited] = fan_out(recorded(MessageEdited(text="Ho", reply_to=answered, **CHANGED)))
    for event in (message, edited):
        assert event.quoted == Quoted("a", AGGREGATE, 2)
        assert not event.is_quote_known
        for data in event.payload_by_user.values():
            assert msgspec.json.decode(data)["reply_to"] == {"message_id": "a", "sequence": 2, "sender_id": BORIS}


@pytest.mark.parametrize(
    ("muted_until", "shown"),
    [
        (None, None),
        (datetime(2020, 1, 1, tzinfo=UTC), None),
        (datetime(2999, 1, 1, tzinfo=UTC), "2999-01-01T00:00:00.000Z"),
        (FOREVER, "forever"),
    ],
)
def test_settings_show_a_mute_that_is_not_over(muted_until: datetime | None, shown: str | None) -> None:
    settings = ConversationUpdated(
        conversation_id=AGGREGATE, user_id=ANNA, members=(ANNA, BORIS), muted_until=muted_until, archived=True
    )
    [updated] = fan_out(recorded(settings))
    expected = {"user_id": BORIS, "conversation_id": AGGREGATE, "pinned": False, "archived": True}
    assert msgspec.json.decode(updated.payload_by_user[ANNA]) == expected | (
        {"muted_until": shown} if shown is not None else {}
    )


@pytest.mark.parametrize("emoji", ["👍", None])
def test_a_reaction_says_who_reacts_and_each_of_two_in_which_conversation(emoji: str | None) -> None:
    [message] = fan_out(recorded(msgspec.structs.replace(REACTED, emoji=emoji)))
    shown = {"message_id": "m", "conversation_id": AGGREGATE, "sequence": 3, "sender_id": BORIS, "emoji": emoji}
    assert msgspec.json.decode(message.payload_by_user[ANNA]) == {"user_id": BORIS, **shown}
    assert msgspec.json.decode(message.payload_by_user[BORIS]) == {"user_id": ANNA, **shown}


def test_a_change_shows_each_of_two_the_message_as_it_is_now() -> None:
    [edited] = fan_out(recorded(MessageEdited(text="Ho\n", **CHANGED)))
    [deleted] = fan_out(recorded(MessageDeleted(**CHANGED)))
    for user_id, other_id in ((ANNA, BORIS), (BORIS, ANNA)):
        shown = msgspec.json.decode(edited.payload_by_user[user_id])
        assert (shown["user_id"], shown["sender_id"], shown["text"]) == (other_id, ANNA, "Ho\n")
        assert shown["edited_at"] == rfc3339(edited.at)
        assert shown["sent_at"] == rfc3339(CHANGED["sent_at"])
        assert "deleted" not in shown
        shown = msgspec.json.decode(deleted.payload_by_user[user_id])
        assert (shown["user_id"], shown["sequence"], shown["text"], shown["deleted"]) == (other_id, 3, "", True)


def test_reading_all_up_to_one_names_that_one() -> None:
    [read] = fan_out(recorded(NotificationRead(notification_ids=("n",), up_to=now())))
    assert msgspec.json.decode(read.payload_by_user[AGGREGATE]) == {"notification_ids": ["n"], "up_to": "n"}
    [read] = fan_out(recorded(NotificationRead(notification_ids=("n",))))
    assert msgspec.json.decode(read.payload_by_user[AGGREGATE]) == {"notification_ids": ["n"]}


def test_reading_by_conversation_names_the_people_and_one_notification_of_each() -> None:
    read = NotificationRead(
        notification_ids=("n",), messages=(MessagesRead(notification_id="m", from_user_id=BORIS, sequence=3),)
    )
    [event] = fan_out(recorded(read))
    shown = msgspec.json.decode(event.payload_by_user[AGGREGATE])
    assert shown == {"notification_ids": ["n", "m"], "from_user_ids": [BORIS]}


def test_a_notification_has_the_id_that_the_read_model_gives_it() -> None:
    [_, notification] = fan_out(recorded(SENT))
    assert msgspec.json.decode(notification.payload_by_user[BORIS])["notification_id"] == notification_id(
        BORIS, "an event"
    )
