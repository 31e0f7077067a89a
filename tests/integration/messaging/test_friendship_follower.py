"""The cache of friendships while the follower of CONTACT stops and restarts."""

import asyncio
from collections.abc import Callable
from typing import cast

from nats.aio.client import Client as NATS

from contracts.envelope import Provenance, seal
from contracts.events.event import Event
from contracts.events.friendship import FriendshipAccepted, FriendshipRemoved
from contracts.positions import Position
from contracts.subjects import CONTACT, friendship
from contracts.values.ids import new_id, pair_id
from services.messaging.clients import FriendshipCache
from services.messaging.reactions import confirm_end, follow_friendships
from streams.log import Append, Log
from streams.quorum import Quorum
from streams.topology import ensure_streams

ANNA, BEN = new_id(), new_id()
PAIR = pair_id(ANNA, BEN)


class LateLog(Log):
    """A log whose follower has to wait before it learns where the stream ends."""

    def __init__(self, nats: NATS) -> None:
        super().__init__(nats)
        self.may_end = asyncio.Event()

    async def end_of(self, stream: str) -> int:
        await self.may_end.wait()
        return await super().end_of(stream)


async def append(log: Log, event: Event, expected: int, version: int) -> int:
    sealed = seal(event, aggregate_id=PAIR, version=version, provenance=Provenance())
    return await log.append(Append(subject=friendship(PAIR), expected=expected, envelope=sealed))


async def test_a_friendship_that_ended_before_the_follower_began_is_not_remembered(streams: NATS) -> None:
    log, remembered = LateLog(streams), FriendshipCache()
    following = asyncio.create_task(follow_friendships(streams, log, remembered))
    try:
        accepted = await append(log, FriendshipAccepted(requester_id=ANNA, addressee_id=BEN), 0, 1)
        # Contact says yes while nobody follows; then it ends.
        remembered.remember(PAIR, accepted)
        removed = await append(log, FriendshipRemoved(remover_id=BEN, other_id=ANNA), accepted, 2)
        log.may_end.set()
        other = pair_id(ANNA, new_id())
        async with asyncio.timeout(60):
            while not remembered.contains(other, Position.at(CONTACT, removed)):
                remembered.remember(other, removed)
                await asyncio.sleep(0.01)
        assert not remembered.contains(PAIR, Position.at(CONTACT, removed))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


class Held:
    """Evidence of a quorum that is always there."""

    holds = True

    def when_lost(self, call: Callable[[], None]) -> None:
        """Does nothing: the stream is never lost here."""


async def test_in_a_cluster_what_the_leader_has_was_read_before_anything_is_remembered(streams: NATS) -> None:
    log, remembered = Log(streams), FriendshipCache(cast(Quorum, Held()))
    accepted = await append(log, FriendshipAccepted(requester_id=ANNA, addressee_id=BEN), 0, 1)
    following = [
        asyncio.create_task(follow_friendships(streams, log, remembered)),
        asyncio.create_task(confirm_end(log, remembered)),
    ]
    try:
        async with asyncio.timeout(60):
            while not remembered.contains(PAIR, Position.at(CONTACT, accepted)):
                remembered.remember(PAIR, accepted)
                await asyncio.sleep(0.01)
            removed = await append(log, FriendshipRemoved(remover_id=BEN, other_id=ANNA), accepted, 2)
            other = pair_id(ANNA, new_id())
            while not remembered.contains(other, Position.at(CONTACT, removed)):
                remembered.remember(other, removed)
                await asyncio.sleep(0.01)
        assert not remembered.contains(PAIR, Position())
    finally:
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)


async def test_a_stream_that_ends_before_what_was_read_is_followed_from_there_with_nothing_remembered(
    streams: NATS,
) -> None:
    """As after a loss, or at a node that was cut off before the last events."""
    log, remembered = Log(streams), FriendshipCache()
    sequence = 0
    for version in range(1, 4):
        sequence = await append(log, FriendshipAccepted(requester_id=ANNA, addressee_id=BEN), sequence, version)
    following = asyncio.create_task(follow_friendships(streams, log, remembered))
    try:
        async with asyncio.timeout(60):
            while not remembered.contains(PAIR, Position.at(CONTACT, sequence)):
                remembered.remember(PAIR, sequence)
                await asyncio.sleep(0.01)
            await streams.jetstream().delete_stream(CONTACT)
            await ensure_streams(streams, replicas=1, names=[CONTACT])
            shorter = await append(log, FriendshipAccepted(requester_id=ANNA, addressee_id=BEN), 0, 1)
            while remembered.ended_at >= sequence:
                assert not following.done()
                await asyncio.sleep(0.01)
            assert not remembered.contains(PAIR, Position())
            while not remembered.contains(PAIR, Position.at(CONTACT, shorter)):
                remembered.remember(PAIR, shorter)
                await asyncio.sleep(0.01)
        assert not remembered.contains(PAIR, Position.at(CONTACT, sequence))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
