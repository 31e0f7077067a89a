"""Restored events get their original sequences on three nodes, despite crashes and concurrent appends."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.js.api import PubAck

from contracts.subjects import (
    AUTH,
    CONTACT,
    MESSAGING,
    PROFILE,
    SESSION,
    conversation,
    friendship,
    profile,
    session,
    user,
)
from streams.jetstream.api import JetStream
from streams.reader import Reader
from streams.restore import ArchivedMessage, SequenceMismatch, StreamRestorer, kept_headers
from tests.fix_cluster import Cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")
SUBJECT = {AUTH: user, SESSION: session, PROFILE: profile, CONTACT: friendship, MESSAGING: conversation}
PATIENCE = 60.0
A_BATCH = 200


@pytest_asyncio.fixture(loop_scope="module")
async def nats(cluster: Cluster) -> AsyncIterator[Client]:
    client = await cluster.connect()
    yield client
    await client.close()


def events(stream: str, first: int, count: int) -> list[ArchivedMessage]:
    return [
        ArchivedMessage(SUBJECT[stream](str(n)), f'{{"n":{n}}}'.encode() + b" " * 300, {"Nats-Msg-Id": f"{stream}-{n}"})
        for n in range(first, first + count)
    ]


async def stored(nats: Client, stream: str) -> list[ArchivedMessage]:
    jetstream = JetStream(nats, patience=PATIENCE)
    end = (await jetstream.info(stream)).state.last_seq
    archived: list[ArchivedMessage] = []
    async with Reader(nats, stream, name="test", headers=True) as reader:
        batches = aiter(reader.batches())
        while len(archived) < end:
            messages = (await anext(batches)).messages
            archived += [
                ArchivedMessage(message.subject, message.payload, kept_headers(message.headers)) for message in messages
            ]
    return archived


async def test_every_event_is_in_its_place_though_leaders_are_deposed_and_killed(
    cluster: Cluster, nats: Client
) -> None:
    restoring = StreamRestorer(nats, PROFILE, patience=PATIENCE)
    for number in range(9):
        first = number * A_BATCH + 1
        putting = asyncio.create_task(restoring.put(first, events(PROFILE, first, A_BATCH)))
        if number == 3:
            await cluster.step_down(PROFILE)
        if number == 6:
            dead = await cluster.leader(PROFILE)
            await cluster.kill(dead)
            await putting
            await cluster.restart(dead)
        await putting
    await cluster.whole(PROFILE)
    assert await stored(nats, PROFILE) == events(PROFILE, 1, 9 * A_BATCH)


async def test_two_that_put_the_same_events_store_each_once(cluster: Cluster, nats: Client) -> None:
    async def put_all() -> None:
        restoring = StreamRestorer(nats, CONTACT, patience=PATIENCE)
        for first in range(1, 20 * 10, 10):
            await restoring.put(first, events(CONTACT, first, 10))

    await cluster.whole(CONTACT)
    await asyncio.gather(put_all(), put_all())
    assert await stored(nats, CONTACT) == events(CONTACT, 1, 200)


async def test_who_else_appends_takes_no_place_unseen(cluster: Cluster, nats: Client) -> None:
    """A stranger appends now and then without any condition: from then on nothing of ours is stored behind it.

    On several streams at the same time: where the stranger was first, a second passes until that is certain.
    """
    rival = await cluster.connect()

    async def compete(stream: str) -> None:
        await cluster.whole(stream)
        restoring = StreamRestorer(nats, stream, patience=PATIENCE)
        ours = 0
        for rounds in range(1, 21):
            first = ours + rounds
            batch = events(stream, first, 5)
            stranger = rival.jetstream().publish(SUBJECT[stream]("stranger"), f"{rounds}".encode(), timeout=60)
            outcomes = await asyncio.gather(restoring.put(first, batch), stranger, return_exceptions=True)
            assert isinstance(outcomes[1], PubAck), outcomes[1]
            archived = await stored(nats, stream)
            if outcomes[0] is None:
                ours += 5
                assert archived[first - 1 : first + 4] == batch
            else:
                assert isinstance(outcomes[0], SequenceMismatch), outcomes[0]
            assert len(archived) == ours + rounds

    await asyncio.gather(*(compete(stream) for stream in (AUTH, SESSION, MESSAGING)))
    await rival.close()
