"""An event applied late, behind those of other aggregates, leaves every read model as if it had come in time."""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import Envelope, Recorded, open_event
from contracts.events.event import Event
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved
from contracts.events.message import (
    FOREVER,
    ConversationUpdated,
    MessageDeleted,
    MessageEdited,
    MessageSeen,
    MessageSent,
    MessagesRead,
    NotificationRead,
)
from contracts.events.profile import ProfileCreated, ProfileUpdated
from contracts.events.session import SessionCreated, SessionRefreshed, SessionRevoked
from contracts.events.user import (
    AddressState,
    EmailClaimed,
    EmailRestored,
    EmailVerified,
    UserCreated,
    UserEmailVerified,
    UsernameClaimed,
)
from contracts.positions import Position
from contracts.values.ids import new_id, pair_id
from projections.engine.apply import event_handlers
from projections.engine.dead_letters import resolution
from projections.engine.inspection.verify import verify
from projections.engine.storage.connections import connect
from projections.registry import choose
from streams.log import Log
from tests.integration.projections.event_writer import Opened, Writer

SENT_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
SOON = datetime(2027, 1, 1, tzinfo=UTC)
Story = list[tuple[str, Event]]


def registration(user_id: str, name: str) -> Story:
    email, other_email = subjects.email_claim(new_id()), subjects.email_claim(new_id())
    address, other = (AddressState(owner=user_id, email=f"{name}@example.{top}") for top in ("org", "net"))
    session = subjects.session(new_id())
    return [
        (subjects.username_claim(new_id()), UsernameClaimed(user_id=user_id)),
        (email, EmailClaimed(user_id=user_id, email=f"{name}@example.org", username=name, expires_at=SOON)),
        (subjects.user(user_id), UserCreated(username=name)),
        (subjects.profile(user_id), ProfileCreated(username=name, display_name=name)),
        (email, EmailVerified(user_id=user_id)),
        (subjects.user(user_id), UserEmailVerified()),
        (session, SessionCreated(user_id=user_id, username=name, device="a", address="::1", expires_at=SOON)),
        (subjects.profile(user_id), ProfileUpdated(display_name=f"{name} the second", bio="new")),
        (session, SessionRefreshed(user_id=user_id, generation=2, expires_at=SOON)),
        (session, SessionRevoked(user_id=user_id, reason="logout")),
        (other_email, EmailVerified(user_id=user_id, address=other)),
        (email, EmailRestored(user_id=user_id, address=address)),
        (other_email, EmailVerified(user_id=user_id, address=other)),
    ]


def friendship(one: str, other: str) -> Story:
    pair = pair_id(one, other)
    subject, talk = subjects.friendship(pair), subjects.conversation(pair)
    story: Story = [
        (subject, FriendshipCreated(requester_id=one, addressee_id=other)),
        (subject, FriendshipAccepted(requester_id=one, addressee_id=other)),
    ]
    for sequence in range(1, 9):
        sender, recipient = (one, other) if sequence % 3 else (other, one)
        message = MessageSent(
            message_id=new_id(),
            sender_id=sender,
            recipient_id=recipient,
            sequence=sequence,
            text=f"text {sequence}",
            client_message_id=str(sequence),
        )
        seen = MessageSeen(conversation_id=pair, reader_id=recipient, peer_id=sender, sequence=sequence)
        story += [(talk, message), (subjects.read_mark(pair, recipient), seen)]
        change_fields: dict[str, Any] = {
            "message_id": message.message_id,
            "conversation_id": pair,
            "sequence": sequence,
            "sender_id": sender,
            "sent_at": SENT_AT,
            "members": (one, other),
        }
        changes: list[Event] = [
            MessageEdited(text="b", **change_fields),
            MessageEdited(text="c", **change_fields),
            MessageDeleted(**change_fields),
        ]
        # None, one, two, or three of them: the last messages' too.
        story += [(subjects.message(message.message_id), change) for change in changes[: sequence % 4]]
    story.append((subjects.notifications(one), NotificationRead(notification_ids=(new_id(),))))
    story.append((subjects.notifications(one), NotificationRead(notification_ids=(new_id(),), up_to=SOON)))
    for sequence in (2, 5):
        mark = MessagesRead(notification_id=new_id(), from_user_id=other, sequence=sequence)
        story.append((subjects.notifications(one), NotificationRead(notification_ids=(), messages=(mark,))))
    for muted_until in (FOREVER, SOON, None):
        settings = ConversationUpdated(
            conversation_id=pair, user_id=one, members=(one, other), muted_until=muted_until, pinned=not muted_until
        )
        story.append((subjects.settings(pair, one), settings))
    story.append((subject, FriendshipRemoved(remover_id=other, other_id=one)))
    return story


def interleaved(chance: random.Random, stories: list[Story]) -> Story:
    """One story of all, in which each keeps its own order."""
    turns = [index for index, story in enumerate(stories) for _ in story]
    chance.shuffle(turns)
    tellers = [iter(story) for story in stories]
    return [next(tellers[index]) for index in turns]


def refusing(chosen: set[tuple[str, int]]) -> Callable[..., Recorded[Event]]:
    def refuse(opened: Envelope, *, stream: str, sequence: int, subject: str) -> Recorded[Event]:
        if (stream, sequence) in chosen:
            raise ValueError("not today")
        return open_event(opened, stream=stream, sequence=sequence, subject=subject)

    return refuse


@pytest.mark.parametrize("seed", [1, 2])
async def test_events_that_are_applied_late_make_no_difference(
    seed: int, streams: Client, writer: Writer, run: Opened, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    people = [new_id() for _ in range(4)]
    stories = [registration(person, f"person{number}") for number, person in enumerate(people)]
    stories += [friendship(one, other) for one, other in pairwise(people)]
    ends: dict[str, int] = {}
    for subject, event in interleaved(chance, stories):
        ends[subjects.stream_of(subject)] = await writer.append(subject, event)
    positions = [(stream, sequence) for stream, end in ends.items() for sequence in range(1, end + 1)]
    monkeypatch.setattr(event_handlers, "open_event", refusing(set(chance.sample(positions, len(positions) // 3))))
    projections = choose([])
    runners = await run(*projections)
    for projection in projections:
        await runners.waiting.wait(projection, Position(ends), 60)
    monkeypatch.undo()
    conn = await connect(database_url, "operator")
    try:
        retried = 0
        for projection in projections:
            heads = await resolution.first_failures(conn, projection)
            chance.shuffle(heads)
            for dead_letter in heads:
                outcome = await resolution.retry(conn, Log(streams), projection, dead_letter)
                assert (outcome.outcome, outcome.left) == ("applied", 0)
                retried += outcome.applied
        assert retried > len(positions) // 3
    finally:
        await conn.close()
    for projection in projections:
        verdict = await verify(projection, streams, database_url)
        assert verdict.differences == []
        assert (verdict.equal, verdict.dead_letters) == (True, 0)
