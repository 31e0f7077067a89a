"""Friendships, decided on what happened before."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import RequestTooSoon, SelfFriendship
from contracts.events.event import Event
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved
from services.contact.domain import (
    DECLINED,
    PAUSES,
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
    assert decide_add(given_events(), "anna", "ben", AT) == (ASKED,)


def test_the_one_who_was_asked_accepts_by_adding() -> None:
    assert decide_add(given_events(ASKED), "ben", "anna", AT) == (ACCEPTED,)


def test_asking_again_changes_nothing() -> None:
    assert decide_add(given_events(ASKED), "anna", "ben", AT) == ()


@pytest.mark.parametrize("who", ["anna", "ben"])
def test_adding_a_friend_changes_nothing(who: str) -> None:
    other = "ben" if who == "anna" else "anna"
    assert decide_add(given_events(ASKED, ACCEPTED), who, other, AT) == ()


def test_whoever_adds_after_the_end_asks_anew() -> None:
    events = decide_add(given_events(ASKED, ACCEPTED, REMOVED), "ben", "anna", AT)
    assert events == (FriendshipCreated(requester_id="ben", addressee_id="anna"),)


def test_nobody_befriends_themselves() -> None:
    with pytest.raises(SelfFriendship):
        decide_add(given_events(), "anna", "anna", AT)


@pytest.mark.parametrize("before", [(ASKED,), (ASKED, ACCEPTED)])
def test_either_may_end_what_there_is(before: tuple[Event, ...]) -> None:
    (event,) = decide_remove(given_events(*before), "ben", "anna")
    assert isinstance(event, FriendshipRemoved)
    assert (event.remover_id, event.other_id) == ("ben", "anna")


@pytest.mark.parametrize("before", [(), (ASKED, REMOVED)])
def test_there_is_nothing_to_end_twice(before: tuple[Event, ...]) -> None:
    assert decide_remove(given_events(*before), "anna", "ben") == ()


def test_each_sees_the_request_from_their_side() -> None:
    state = given_events(ASKED)
    assert (relation(state, "anna"), relation(state, "ben")) == (Relation.OUTGOING, Relation.INCOMING)


Step = tuple[str, str]
STEPS = st.lists(st.tuples(st.sampled_from(["anna", "ben"]), st.sampled_from(["add", "remove"])), max_size=30)


def moment(number: int) -> datetime:
    """Of a step: behind the longest pause after the one before."""
    return AT + number * PAUSES[-1]


def run(steps: list[Step]) -> tuple[Friendship, list[Event]]:
    state, history = Friendship(), list[Event]()
    for number, (who, what) in enumerate(steps):
        other = "ben" if who == "anna" else "anna"
        now = moment(number)
        for event in decide_add(state, who, other, now) if what == "add" else decide_remove(state, who, other):
            state = evolve(state, event, now)
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
    """Earlier events are never read, however often two users request and end it."""
    state, history = run(steps)
    assert history == [] or state == evolve(Friendship(), history[-1], state.ended_at or AT)


def meet(*steps: tuple[str, str, timedelta]) -> Friendship:
    """The two after these steps, each so long after the one before."""
    state, now = Friendship(), AT
    for who, what, later in steps:
        now += later
        other = "ben" if who == "anna" else "anna"
        for event in decide_add(state, who, other, now) if what == "add" else decide_remove(state, who, other):
            state = evolve(state, event, now)
    return state


NOTHING, LONG = timedelta(0), PAUSES[-1]
ASK, DECLINE, WITHDRAW, ACCEPT = ("anna", "add"), ("ben", "remove"), ("anna", "remove"), ("ben", "add")


def pause_after(*steps: tuple[str, str]) -> timedelta:
    """How long anna has to wait for her next request, after steps that each came long after the one before."""
    state = meet(*((who, what, LONG) for who, what in steps))
    assert state.ended_at is not None
    wait = _refusal(state, state.ended_at)
    if wait:
        assert _refusal(state, state.ended_at + wait - timedelta(milliseconds=1)) == timedelta(seconds=1)
    assert not _refusal(state, state.ended_at + wait)
    return wait


def _refusal(state: Friendship, now: datetime) -> timedelta:
    """The wait after which anna may send another request."""
    try:
        decide_add(state, "anna", "ben", now)
    except RequestTooSoon as refused:
        return timedelta(seconds=refused.retry_after or 0)
    return NOTHING


@pytest.mark.parametrize(("declines", "pause"), [(1, PAUSES[0]), (2, PAUSES[1]), (3, PAUSES[2]), (4, LONG), (9, LONG)])
def test_whoever_was_declined_waits_longer_each_time(declines: int, pause: timedelta) -> None:
    assert pause_after(*[ASK, DECLINE] * declines) == pause


def test_who_declined_may_ask_at_once() -> None:
    state = meet((*ASK, NOTHING), (*DECLINE, NOTHING))
    (event,) = decide_add(state, "ben", "anna", AT)
    assert event == FriendshipCreated(requester_id="ben", addressee_id="anna", addressee_setbacks=DECLINED)


def test_what_was_declined_is_remembered_through_the_requests_of_the_other() -> None:
    assert pause_after(ASK, DECLINE, ("ben", "add"), ("ben", "remove")) == PAUSES[0]
    assert pause_after(ASK, DECLINE, ("ben", "add"), ("anna", "remove"), ASK, DECLINE) == PAUSES[1]


def test_friends_who_part_begin_without_a_pause() -> None:
    assert pause_after(ASK, DECLINE, ASK, ACCEPT, DECLINE) == NOTHING
    assert pause_after(ASK, DECLINE, ASK, ACCEPT, DECLINE, ASK, DECLINE) == PAUSES[0]


def test_a_request_that_is_withdrawn_now_and_then_is_free_and_a_game_of_it_is_not() -> None:
    assert pause_after(*[ASK, WITHDRAW] * 2) == NOTHING
    assert pause_after(*[ASK, WITHDRAW] * 3) == PAUSES[0]
    assert pause_after(ASK, DECLINE, *[ASK, WITHDRAW] * 3) == PAUSES[1]


def test_ends_from_before_there_were_pauses_make_none() -> None:
    assert decide_add(given_events(ASKED, REMOVED), "anna", "ben", AT) == (ASKED,)
