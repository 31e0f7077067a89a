"""The read models of users and messages are functions of the streams, for any order between streams."""

import asyncio
from collections.abc import Sequence

import pytest
from nats.aio.client import Client as NATS

from contracts.envelope import Provenance, seal
from contracts.events.event import Event
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved
from contracts.events.message import FOREVER, ConversationUpdated, MessageSeen, MessageSent, NotificationRead
from contracts.events.profile import ProfileCreated, ProfileUpdated
from contracts.events.user import UserCreated, UserEmailVerified
from contracts.subjects import conversation, friendship, notifications, profile, read_mark, settings, user
from contracts.values.ids import new_id, pair_id
from projections.conversations import Conversations
from projections.engine import Projection, Runners
from projections.engine.inspection.verify import verify
from projections.friends import Friends
from projections.message_search import MessageSearch
from projections.notifications import Notifications
from projections.profiles import Profiles
from streams.log import Append, Log
from tests.fix_postgres import Pool

ANNA, BEN = new_id(), new_id()
PAIR = pair_id(ANNA, BEN)


async def write(log: Log, subject: str, aggregate_id: str, events: Sequence[Event]) -> None:
    last = 0
    for version, event in enumerate(events, 1):
        envelope = seal(event, aggregate_id=aggregate_id, version=version, provenance=Provenance())
        last = await log.append(Append(subject=subject, expected=last, envelope=envelope))


async def write_a_history(log: Log) -> None:
    for user_id, username in ((ANNA, "anna"), (BEN, "ben")):
        await write(log, user(user_id), user_id, [UserCreated(username=username), UserEmailVerified()])
    await write(
        log,
        profile(ANNA),
        ANNA,
        [ProfileCreated(username="anna", display_name="anna"), ProfileUpdated(display_name="Anna", bio="x")],
    )
    await write(
        log,
        conversation(PAIR),
        PAIR,
        [
            MessageSent(
                message_id=new_id(),
                sender_id=(ANNA, BEN)[sequence % 2],
                recipient_id=(BEN, ANNA)[sequence % 2],
                sequence=sequence,
                text=f"text {sequence}",
                client_message_id=f"id{sequence}",
            )
            for sequence in range(1, 11)
        ],
    )
    seen = [
        MessageSeen(conversation_id=PAIR, reader_id=BEN, peer_id=ANNA, sequence=sequence) for sequence in (3, 7, 10)
    ]
    await write(log, read_mark(PAIR, BEN), f"{PAIR}.{BEN}", seen)
    changes = [
        ConversationUpdated(conversation_id=PAIR, user_id=ANNA, members=(ANNA, BEN), pinned=True, archived=True),
        ConversationUpdated(conversation_id=PAIR, user_id=ANNA, members=(ANNA, BEN), muted_until=FOREVER),
    ]
    await write(log, settings(PAIR, ANNA), f"{PAIR}.{ANNA}", changes)
    await write(log, notifications(ANNA), ANNA, [NotificationRead(notification_ids=(new_id(), new_id()))])
    asked = FriendshipCreated(requester_id=ANNA, addressee_id=BEN)
    accepted = FriendshipAccepted(requester_id=ANNA, addressee_id=BEN)
    removed = FriendshipRemoved(remover_id=BEN, other_id=ANNA)
    await write(log, friendship(PAIR), PAIR, [asked, accepted, removed, asked, accepted])


@pytest.mark.parametrize("projection", [Conversations, Friends, MessageSearch, Notifications, Profiles])
async def test_a_rebuild_is_equal_in_either_order_of_the_streams(
    projection: type[Projection], streams: NATS, pool: Pool, database_url: str
) -> None:
    await write_a_history(Log(streams))
    runners = Runners([projection], streams, pool, database_url)
    await runners.start()
    try:
        async with asyncio.timeout(20):
            while not runners.ready():
                await asyncio.sleep(0.01)
        verdict = await verify(projection, streams, database_url)
    finally:
        await runners.stop()
    assert verdict.differences == []
    assert verdict.equal
    assert verdict.rows > 0
    assert verdict.dead_letters == 0
