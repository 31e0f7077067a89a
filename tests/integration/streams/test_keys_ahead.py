"""A message waits for no key at the turn of a month, where its author has written in the days before, and none between
new friends."""

import asyncio
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime, timedelta

import pytest
from nats.aio.client import Client

from contracts.envelope import Provenance, now, seal
from contracts.events.friendship import FriendshipAccepted
from contracts.events.message import MessageSent
from contracts.personal_data.key_ids import MONTH_AHEAD, text_key
from contracts.subjects import DATA_KEYS, conversation, friendship
from contracts.values.ids import new_id, pair_id
from services.messaging.clients import FriendshipCache
from services.messaging.reactions import follow_friendships
from streams.log import Append, Log
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.key_store import KeyStore
from streams.personal_data.keys.ahead import KeysAhead
from streams.personal_data.keys.creation import KeyCreation
from streams.personal_data.keys.destruction import KeyDestruction
from streams.personal_data.sealer import Sealer
from streams.personal_data.writing import seal_with
from streams.topology import ensure_bucket
from tests.integration.recorded_keys import RING, Recorded

TURN = datetime(2027, 1, 1, tzinfo=UTC)
EARLIER, LAST_DAYS = TURN - MONTH_AHEAD - timedelta(hours=1), TURN - timedelta(hours=1)
ANNA, BORIS = new_id(), new_id()


class Process:
    """A process that sends messages; it has no key in its memory."""

    def __init__(self, nats: Client, store: KeyStore) -> None:
        self.created: list[str] = []
        self._log = Log(nats)
        self._creation = KeyCreation(store, RING, Recorded())
        sealer = Sealer(DataKeys(store, RING), self._create)
        self.ahead = KeysAhead(sealer.create, pause=0)
        sealer.listen(self.ahead.used)
        seal_with(nats, sealer)

    async def send(self, conversation_id: str, sequence: int, at: datetime, *, after: int = 0) -> int:
        """Returns the event's sequence in the stream."""
        message = MessageSent(
            message_id=new_id(), sender_id=ANNA, recipient_id=BORIS, sequence=sequence, text="a", client_message_id="c"
        )
        envelope = seal(message, aggregate_id=conversation_id, version=sequence, provenance=Provenance(), at=at)
        return await self._log.append(Append(subject=conversation(conversation_id), expected=after, envelope=envelope))

    async def _create(self, key_ids: Collection[str]) -> None:
        self.created += key_ids
        await self._creation.create(key_ids)


class Following(FriendshipCache):
    """Knows when its follower has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()

    def follows(self, sequence: int) -> None:
        super().follows(sequence)
        self.begun.set()


@pytest.fixture
async def store(streams: Client) -> KeyStore:
    await ensure_bucket(streams, DATA_KEYS, replicas=1)
    return KeyStore(streams, patience=60)


@pytest.fixture
async def process(streams: Client, store: KeyStore) -> AsyncIterator[Process]:
    process = Process(streams, store)
    running = asyncio.create_task(process.ahead.run())
    yield process
    running.cancel()
    await asyncio.wait({running})


async def test_at_the_turn_of_a_month_no_key_is_created_where_it_was_created_ahead(
    streams: Client, store: KeyStore, process: Process
) -> None:
    busy, quiet = new_id(), new_id()
    last = {conversation_id: await process.send(conversation_id, 1, EARLIER) for conversation_id in (busy, quiet)}
    last[busy] = await process.send(busy, 2, LAST_DAYS, after=last[busy])
    async with asyncio.timeout(60):
        while not await store.find([text_key(busy, ANNA, TURN)]):
            await asyncio.sleep(0.01)
    later = Process(streams, store)
    await later.send(busy, 3, TURN, after=last[busy])
    assert later.created == []
    # As before where its author has not written in the last days.
    await later.send(quiet, 2, TURN, after=last[quiet])
    assert later.created == [text_key(quiet, ANNA, TURN)]


async def test_between_new_friends_no_first_message_creates_a_key_and_one_who_is_erased_keeps_no_other_waiting(
    streams: Client, store: KeyStore, process: Process
) -> None:
    following, friend, erased = Following(), new_id(), new_id()
    await KeyDestruction(store).destroy_person(erased)
    task = asyncio.create_task(follow_friendships(streams, Log(streams), following, process.ahead.opened))
    try:
        async with asyncio.timeout(60):
            await following.begun.wait()
        for other in (erased, friend):
            await befriend(streams, ANNA, other)
        keys = {text_key(pair_id(ANNA, friend), author, now()) for author in (ANNA, friend)}
        async with asyncio.timeout(60):
            while (await store.find(keys)).keys() != keys:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.wait({task})
    later = Process(streams, store)
    await later.send(pair_id(ANNA, friend), 1, now())
    assert later.created == []


async def befriend(nats: Client, one: str, other: str) -> None:
    pair = pair_id(one, other)
    accepted = FriendshipAccepted(requester_id=one, addressee_id=other)
    envelope = seal(accepted, aggregate_id=pair, version=1, provenance=Provenance())
    await Log(nats).append(Append(subject=friendship(pair), expected=0, envelope=envelope))
