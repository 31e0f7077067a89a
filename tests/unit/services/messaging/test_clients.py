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


def following(end: int) -> FriendshipCache:
    remembered = FriendshipCache()
    remembered.follows(end)
    remembered.reached(end)
    return remembered


def asking(contact: Contact, remembered: FriendshipCache) -> Friendships:
    return Friendships(cast(Client, contact), remembered)


def holds(remembered: FriendshipCache, position: Position = NOWHERE) -> bool:
    remembered.reached(0)  # a sign of life, whatever time the test takes
    return remembered.contains(PAIR, position)


async def test_a_yes_is_asked_for_once() -> None:
    contact, remembered = Contact(read_at=10), following(10)
    friendships = asking(contact, remembered)
    for _ in range(3):
        remembered.reached(10)
        await friendships.require_friends(ANNA, BEN, NOWHERE)
    assert contact.asked == 1


async def test_a_yes_from_before_a_removal_that_was_read_is_refused_and_not_remembered() -> None:
    """The friendship was removed at 11; contact's event store still ends at 10."""
    contact, remembered = Contact(read_at=10), following(10)
    await asking(contact, remembered).require_friends(ANNA, BEN, NOWHERE)
    remembered.forget(PAIR, 11)
    with pytest.raises(Unavailable) as refused:
        await asking(contact, remembered).require_friends(ANNA, BEN, NOWHERE)
    assert refused.value.retry_after is not None
    assert not holds(remembered)


async def test_a_yes_that_is_overtaken_by_a_removal_on_its_way_is_not_remembered() -> None:
    remembered = following(10)
    remembered.forget(PAIR, 11)
    remembered.remember(PAIR, 10)
    assert not holds(remembered)
    remembered.remember(PAIR, 11)
    assert holds(remembered)


async def test_a_yes_from_before_the_follower_began_is_not_remembered() -> None:
    remembered = following(10)
    remembered.remember(PAIR, 9)
    assert not holds(remembered)


@pytest.mark.parametrize("relation", [Relation.FRIENDS, Relation.NOT_FRIENDS])
async def test_an_answer_from_before_the_position_of_the_caller_is_refused(relation: Relation) -> None:
    friendships = asking(Contact(relation, read_at=10), following(10))
    with pytest.raises(Unavailable):
        await friendships.require_friends(ANNA, BEN, Position.at(CONTACT, 11))


async def test_people_who_are_not_friends_are_refused() -> None:
    with pytest.raises(NotFriends):
        await asking(Contact(Relation.NOT_FRIENDS, read_at=10), following(10)).require_friends(ANNA, BEN, NOWHERE)


async def test_an_unknown_user_is_not_found_wherever_contact_has_read() -> None:
    contact = Contact(Relation.UNKNOWN_USER, read_at=0)
    with pytest.raises(UserNotFound):
        await asking(contact, following(10)).require_friends(ANNA, BEN, Position.at(CONTACT, 10))


async def test_what_nobody_follows_is_not_remembered() -> None:
    remembered = FriendshipCache()
    remembered.remember(PAIR, 1_000)
    assert not holds(remembered)
    remembered = following(10)
    remembered.remember(PAIR, 10)
    remembered.reset()
    remembered.remember(PAIR, 10)
    remembered.follows(10)
    assert not holds(remembered)


async def test_an_event_that_cannot_be_read_may_be_the_removal_of_any_friendship() -> None:
    remembered = following(10)
    remembered.remember(PAIR, 10)
    remembered.forget_all(11)
    assert not holds(remembered)
    remembered.remember(PAIR, 10)
    assert not holds(remembered)
    remembered.remember(PAIR, 11)
    assert holds(remembered)


class Evidence:
    """The evidence of a quorum that messaging checks."""

    holds = True

    def __init__(self) -> None:
        self.lost: list[Callable[[], None]] = []

    def when_lost(self, call: Callable[[], None]) -> None:
        self.lost.append(call)


def confirmed(remembered: FriendshipCache, end: int = 10) -> bool:
    """Whether the pair is remembered once the leader has said where the stream ends, whatever time the test takes."""
    remembered.ends(end, time.monotonic() + 60.0)
    return remembered.contains(PAIR, NOWHERE)


async def test_without_evidence_of_a_quorum_nothing_is_remembered_and_after_a_gap_it_is_asked_again() -> None:
    evidence = Evidence()
    remembered = FriendshipCache(cast(Quorum, evidence))
    remembered.follows(10)
    remembered.reached(10)
    remembered.remember(PAIR, 10)
    assert confirmed(remembered)
    evidence.holds = False
    assert not confirmed(remembered)
    for lost in evidence.lost:
        lost()
    evidence.holds = True
    assert not confirmed(remembered)
    remembered.remember(PAIR, 10)
    assert confirmed(remembered)


async def test_in_a_cluster_a_follower_that_lags_behind_the_stream_s_leader_keeps_nothing_remembered() -> None:
    """It is heard of all the time; its node's copy of the stream lacks the removal at 11."""
    remembered = FriendshipCache(cast(Quorum, Evidence()))
    remembered.follows(10)
    remembered.remember(PAIR, 10)
    remembered.reached(10)
    assert not remembered.contains(PAIR, NOWHERE)
    remembered.ends(11, time.monotonic() + 60.0)
    for _ in range(3):
        remembered.reached(10)
        assert not remembered.contains(PAIR, NOWHERE)
    remembered.reached(11)
    assert remembered.contains(PAIR, NOWHERE)
