"""Which answers of contact are cached, and which are refused as older than known ones."""

import time
from collections.abc import Callable
from typing import cast

import pytest

from contracts.errors import NotFriends, Unavailable, UserNotFound
from contracts.positions import Position
from contracts.rpc.vestnik.contact.v1 import IsFriendResponse, Relation
from contracts.subjects import CONTACT
from contracts.values.ids import new_id, pair_id
from infra.rpc.client import Client
from services.messaging.clients import FriendshipCache, Friendships
from streams.quorum import Quorum

ANNA, BEN = new_id(), new_id()
PAIR = pair_id(ANNA, BEN)
NOWHERE = Position()


class Contact:
    """A contact service that returns the answers set by the test."""

    def __init__(self, relation: Relation = Relation.FRIENDS, *, read_at: int) -> None:
        self.answer = IsFriendResponse(relation=relation, read_at=read_at)
        self.asked = 0

    def stub(self, kind: type[object]) -> "Contact":
        return self

    async def is_friend(self) -> None:
        raise AssertionError("called through `call` alone")

    async def call(self, *_: object, **__: object) -> IsFriendResponse:
        self.asked += 1
        return self.answer


def cache_from(end: int) -> FriendshipCache:
    cache = FriendshipCache()
    cache.follows(end)
    cache.reached(end)
    return cache


def friendships_of(contact: Contact, cache: FriendshipCache) -> Friendships:
    return Friendships(cast(Client, contact), cache)


def holds(cache: FriendshipCache, position: Position = NOWHERE) -> bool:
    cache.reached(0)  # a heartbeat, whatever time the test takes
    return cache.contains(PAIR, position)


async def test_a_friendship_is_requested_once() -> None:
    contact, cache = Contact(read_at=10), cache_from(10)
    friendships = friendships_of(contact, cache)
    for _ in range(3):
        cache.reached(10)
        await friendships.require_friends(ANNA, BEN, NOWHERE)
    assert contact.asked == 1


async def test_a_friendship_from_before_a_removal_that_was_read_is_refused_and_not_cached() -> None:
    """The friendship was removed at 11; contact's event store still ends at 10."""
    contact, cache = Contact(read_at=10), cache_from(10)
    await friendships_of(contact, cache).require_friends(ANNA, BEN, NOWHERE)
    cache.forget(PAIR, 11)
    with pytest.raises(Unavailable) as refused:
        await friendships_of(contact, cache).require_friends(ANNA, BEN, NOWHERE)
    assert refused.value.retry_after is not None
    assert not holds(cache)


async def test_a_friendship_that_is_overtaken_by_a_removal_on_its_way_is_not_cached() -> None:
    cache = cache_from(10)
    cache.forget(PAIR, 11)
    cache.remember(PAIR, 10)
    assert not holds(cache)
    cache.remember(PAIR, 11)
    assert holds(cache)


async def test_a_friendship_from_before_the_follower_began_is_not_cached() -> None:
    cache = cache_from(10)
    cache.remember(PAIR, 9)
    assert not holds(cache)


@pytest.mark.parametrize("relation", [Relation.FRIENDS, Relation.NOT_FRIENDS])
async def test_an_answer_from_before_the_position_of_the_caller_is_refused(relation: Relation) -> None:
    friendships = friendships_of(Contact(relation, read_at=10), cache_from(10))
    with pytest.raises(Unavailable):
        await friendships.require_friends(ANNA, BEN, Position.at(CONTACT, 11))


async def test_people_who_are_not_friends_are_refused() -> None:
    with pytest.raises(NotFriends):
        await friendships_of(Contact(Relation.NOT_FRIENDS, read_at=10), cache_from(10)).require_friends(
            ANNA, BEN, NOWHERE
        )


async def test_an_unknown_user_is_not_found_wherever_contact_has_read() -> None:
    contact = Contact(Relation.UNKNOWN_USER, read_at=0)
    with pytest.raises(UserNotFound):
        await friendships_of(contact, cache_from(10)).require_friends(ANNA, BEN, Position.at(CONTACT, 10))


async def test_nothing_is_cached_without_a_follower() -> None:
    cache = FriendshipCache()
    cache.remember(PAIR, 1_000)
    assert not holds(cache)
    cache = cache_from(10)
    cache.remember(PAIR, 10)
    cache.reset()
    cache.remember(PAIR, 10)
    cache.follows(10)
    assert not holds(cache)


async def test_an_event_that_cannot_be_read_may_be_the_removal_of_any_friendship() -> None:
    cache = cache_from(10)
    cache.remember(PAIR, 10)
    cache.forget_all(11)
    assert not holds(cache)
    cache.remember(PAIR, 10)
    assert not holds(cache)
    cache.remember(PAIR, 11)
    assert holds(cache)


class Evidence:
    """The evidence of a quorum that messaging checks."""

    holds = True

    def __init__(self) -> None:
        self.lost: list[Callable[[], None]] = []

    def when_lost(self, call: Callable[[], None]) -> None:
        self.lost.append(call)


def is_cached_at_end(cache: FriendshipCache, end: int = 10) -> bool:
    """Whether the pair is cached once the leader has reported the end of the stream, whatever time the test takes."""
    cache.ends(end, time.monotonic() + 60.0)
    return cache.contains(PAIR, NOWHERE)


async def test_without_evidence_of_a_quorum_nothing_is_cached_and_after_a_gap_it_is_requested_again() -> None:
    evidence = Evidence()
    cache = FriendshipCache(cast(Quorum, evidence))
    cache.follows(10)
    cache.reached(10)
    cache.remember(PAIR, 10)
    assert is_cached_at_end(cache)
    evidence.holds = False
    assert not is_cached_at_end(cache)
    for on_lost in evidence.lost:
        on_lost()
    evidence.holds = True
    assert not is_cached_at_end(cache)
    cache.remember(PAIR, 10)
    assert is_cached_at_end(cache)


async def test_in_a_cluster_a_follower_that_lags_behind_the_stream_s_leader_caches_nothing() -> None:
    """It reports all the time; its node's copy of the stream lacks the removal at 11."""
    cache = FriendshipCache(cast(Quorum, Evidence()))
    cache.follows(10)
    cache.remember(PAIR, 10)
    cache.reached(10)
    assert not cache.contains(PAIR, NOWHERE)
    cache.ends(11, time.monotonic() + 60.0)
    for _ in range(3):
        cache.reached(10)
        assert not cache.contains(PAIR, NOWHERE)
    cache.reached(11)
    assert cache.contains(PAIR, NOWHERE)
