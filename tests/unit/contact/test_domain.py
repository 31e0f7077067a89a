"""Friendships, decided on what happened before."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import SelfFriendship
from contracts.event import Event
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved
from services.contact.domain import (
    Friendship,
    Relation,
    Status,
    decide_add,
    decide_remove,
    evolve,
    relation,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)
ASKED = FriendshipCreated(requester_id="anna", addressee_id="ben")
ACCEPTED = FriendshipAccepted(requester_id="anna", addressee_id="ben")
REMOVED = FriendshipRemoved(remover_id="anna", other_id="ben")


def given_events(*events: Event) -> Friendship:
    state = Friendship()
    for event in events:
        state = evolve(state, event, AT)
    return state


def test_the_first_to_add_asks() -> None:
    assert decide_add(given_events(), "anna", "ben") == (ASKED,)


def test_the_one_who_was_asked_accepts_by_adding() -> None:
    assert decide_add(given_events(ASKED), "ben", "anna") == (ACCEPTED,)


def test_asking_again_changes_nothing() -> None:
    assert decide_add(given_events(ASKED), "anna", "ben") == ()


@pytest.mark.parametrize("who", ["anna", "ben"])
def test_adding_a_friend_changes_nothing(who: str) -> None:
    other = "ben" if who == "anna" else "anna"
    assert decide_add(given_events(ASKED, ACCEPTED), who, other) == ()


def test_whoever_adds_after_the_end_asks_anew() -> None:
    events = decide_add(given_events(ASKED, ACCEPTED, REMOVED), "ben", "anna")
    assert events == (FriendshipCreated(requester_id="ben", addressee_id="anna"),)


def test_nobody_befriends_themselves() -> None:
    with pytest.raises(SelfFriendship):
        decide_add(given_events(), "anna", "anna")


@pytest.mark.parametrize("before", [(ASKED,), (ASKED, ACCEPTED)])
def test_either_may_end_what_there_is(before: tuple[Event, ...]) -> None:
    events = decide_remove(given_events(*before), "ben", "anna")
    assert events == (FriendshipRemoved(remover_id="ben", other_id="anna"),)


@pytest.mark.parametrize("before", [(), (ASKED, REMOVED)])
def test_there_is_nothing_to_end_twice(before: tuple[Event, ...]) -> None:
    assert decide_remove(given_events(*before), "anna", "ben") == ()


def test_each_sees_the_request_from_their_side() -> None:
    state = given_events(ASKED)
    assert (relation(state, "anna"), relation(state, "ben")) == (Relation.OUTGOING, Relation.INCOMING)


Step = tuple[str, str]
STEPS = st.lists(st.tuples(st.sampled_from(["anna", "ben"]), st.sampled_from(["add", "remove"])), max_size=30)


def run(steps: list[Step]) -> tuple[Friendship, list[Event]]:
    state, history = Friendship(), list[Event]()
    for who, what in steps:
        other = "ben" if who == "anna" else "anna"
        for event in (decide_add if what == "add" else decide_remove)(state, who, other):
            state = evolve(state, event, AT)
            history.append(event)
    return state, history


@given(STEPS)
def test_two_people_are_friends_exactly_if_both_added_since_the_last_end(steps: list[Step]) -> None:
    state, _ = run(steps)
    wanting: set[str] = set()
    for who, what in steps:
        wanting = wanting | {who} if what == "add" else set()
    expected = {0: {Status.NONE, Status.REMOVED}, 1: {Status.REQUESTED}, 2: {Status.ACCEPTED}}
    assert state.status in expected[len(wanting)]


@given(STEPS)
def test_a_history_is_always_asked_then_accepted_then_ended(steps: list[Step]) -> None:
    _, history = run(steps)
    before: Event | None = None
    for event in history:
        match event:
            case FriendshipCreated():
                assert before is None or isinstance(before, FriendshipRemoved)
            case FriendshipAccepted():
                assert isinstance(before, FriendshipCreated)
                assert (event.requester_id, event.addressee_id) == (before.requester_id, before.addressee_id)
            case _:
                assert isinstance(before, FriendshipCreated | FriendshipAccepted)
        before = event


@given(STEPS, st.sampled_from(["anna", "ben"]), st.sampled_from(["add", "remove"]))
def test_a_command_repeated_does_nothing_twice(steps: list[Step], who: str, what: str) -> None:
    once, _ = run([*steps, (who, what)])
    twice, history = run([*steps, (who, what), (who, what)])
    assert twice == once
    assert history == run([*steps, (who, what)])[1]


@given(STEPS)
def test_the_last_event_alone_says_all_of_a_friendship(steps: list[Step]) -> None:
    """Nothing before it is ever read, however often two people ask and part."""
    state, history = run(steps)
    assert state == (evolve(Friendship(), history[-1], AT) if history else Friendship())
