"""Friendships, decided on what happened before."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Blocked, RequestTooSoon, SelfBlock, SelfFriendship, VestnikError
from contracts.events.event import Event
from contracts.events.friendship import (
    FriendshipAccepted,
    FriendshipBlocked,
    FriendshipCreated,
    FriendshipRemoved,
    FriendshipUnblocked,
)
from services.contact.domain import (
    DECLINED,
    PAUSES,
    Friendship,
    Relation,
    Status,
    decide_add,
    decide_block,
    decide_remove,
    decide_unblock,
    evolve,
    relation,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
REQUESTED = FriendshipCreated(requester_id="anna", addressee_id="ben")
ACCEPTED = FriendshipAccepted(requester_id="anna", addressee_id="ben")
REMOVED = FriendshipRemoved(remover_id="anna", other_id="ben")


def given_events(*events: Event) -> Friendship:
    state = Friendship()
    for event in events:
        state = evolve(state, event, AT)
    return state


def test_the_first_to_add_asks() -> None:
    assert decide_add(given_events(), "anna", "ben", AT) == (REQUESTED,)


def test_the_one_who_was_asked_accepts_by_adding() -> None:
    assert decide_add(given_events(REQUESTED), "ben", "anna", AT) == (ACCEPTED,)


def test_asking_again_changes_nothing() -> None:
    assert decide_add(given_events(REQUESTED), "anna", "ben", AT) == ()


@pytest.mark.parametrize("who", ["anna", "ben"])
def test_adding_a_friend_changes_nothing(who: str) -> None:
    other = "ben" if who == "anna" else "anna"
    assert decide_add(given_events(REQUESTED, ACCEPTED), who, other, AT) == ()


def test_a_request_after_the_end_of_a_friendship_is_a_new_one() -> None:
    events = decide_add(given_events(REQUESTED, ACCEPTED, REMOVED), "ben", "anna", AT)
    assert events == (FriendshipCreated(requester_id="ben", addressee_id="anna"),)


def test_nobody_befriends_themselves() -> None:
    with pytest.raises(SelfFriendship):
        decide_add(given_events(), "anna", "anna", AT)


@pytest.mark.parametrize("before", [(REQUESTED,), (REQUESTED, ACCEPTED)])
def test_either_user_may_end_a_request_or_a_friendship(before: tuple[Event, ...]) -> None:
    (event,) = decide_remove(given_events(*before), "ben", "anna")
    assert isinstance(event, FriendshipRemoved)
    assert (event.remover_id, event.other_id) == ("ben", "anna")


@pytest.mark.parametrize("before", [(), (REQUESTED, REMOVED)])
def test_there_is_nothing_to_end_twice(before: tuple[Event, ...]) -> None:
    assert decide_remove(given_events(*before), "anna", "ben") == ()


def test_each_sees_the_request_from_their_side() -> None:
    state = given_events(REQUESTED)
    assert (relation(state, "anna"), relation(state, "ben")) == (Relation.OUTGOING, Relation.INCOMING)


Step = tuple[str, str]
STEPS = st.lists(st.tuples(st.sampled_from(["anna", "ben"]), st.sampled_from(["add", "remove"])), max_size=30)


def moment(number: int) -> datetime:
    """Time of a step: later than the longest pause after the previous step."""
    return AT + number * PAUSES[-1]


def run(steps: list[Step]) -> tuple[Friendship, list[Event]]:
    state, history = Friendship(), list[Event]()
    for number, (user_id, action) in enumerate(steps):
        other = "ben" if user_id == "anna" else "anna"
        now = moment(number)
        for event in (
            decide_add(state, user_id, other, now) if action == "add" else decide_remove(state, user_id, other)
        ):
            state = evolve(state, event, now)
            history.append(event)
    return state, history


@given(STEPS)
def test_two_people_are_friends_exactly_if_both_added_since_the_last_end(steps: list[Step]) -> None:
    state, _ = run(steps)
    added_by: set[str] = set()
    for user_id, action in steps:
        added_by = added_by | {user_id} if action == "add" else set()
    expected = {0: {Status.NONE, Status.REMOVED}, 1: {Status.REQUESTED}, 2: {Status.ACCEPTED}}
    assert state.status in expected[len(added_by)]


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
def test_a_command_repeated_does_nothing_twice(steps: list[Step], user_id: str, action: str) -> None:
    once, _ = run([*steps, (user_id, action)])
    twice, history = run([*steps, (user_id, action), (user_id, action)])
    assert twice == once
    assert history == run([*steps, (user_id, action)])[1]


@given(STEPS)
def test_the_last_event_alone_says_all_of_a_friendship(steps: list[Step]) -> None:
    """Earlier events are never read, however often two users request and end it."""
    state, history = run(steps)
    assert history == [] or state == evolve(Friendship(), history[-1], state.ended_at or state.requested_at or AT)


def state_after(*steps: tuple[str, str, timedelta]) -> Friendship:
    """The friendship after these steps, each preceded by its pause."""
    state, now = Friendship(), AT
    for user_id, action, pause in steps:
        now += pause
        other = "ben" if user_id == "anna" else "anna"
        for event in (
            decide_add(state, user_id, other, now) if action == "add" else decide_remove(state, user_id, other)
        ):
            state = evolve(state, event, now)
    return state


NOTHING, LONG = timedelta(0), PAUSES[-1]
ASK, DECLINE, WITHDRAW, ACCEPT = ("anna", "add"), ("ben", "remove"), ("anna", "remove"), ("ben", "add")


def pause_after(*steps: tuple[str, str]) -> timedelta:
    """The wait until anna may send her next request, after steps that each came long after the one before."""
    state = state_after(*((user_id, action, LONG) for user_id, action in steps))
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
def test_a_declined_user_waits_longer_each_time(declines: int, pause: timedelta) -> None:
    assert pause_after(*[ASK, DECLINE] * declines) == pause


def test_the_user_who_declined_may_send_a_request_immediately() -> None:
    state = state_after((*ASK, NOTHING), (*DECLINE, NOTHING))
    (event,) = decide_add(state, "ben", "anna", AT)
    assert event == FriendshipCreated(requester_id="ben", addressee_id="anna", addressee_setbacks=DECLINED)


def test_earlier_declines_count_after_requests_of_the_other_user() -> None:
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
    assert decide_add(given_events(REQUESTED, REMOVED), "anna", "ben", AT) == (REQUESTED,)


BLOCKED = FriendshipBlocked(blocker_id="anna", blocked_id="ben", blocked_by=("anna",))
HELD = FriendshipCreated(requester_id="ben", addressee_id="anna", blocked_by=("anna",))


def test_a_block_ends_a_friendship_by_an_event_of_its_own() -> None:
    ended, block = decide_block(given_events(REQUESTED, ACCEPTED), "anna", "ben", AT)
    assert ended == REMOVED
    assert block == FriendshipBlocked(blocker_id="anna", blocked_id="ben", blocked_by=("anna",), ended_at=AT)


def test_a_block_withdraws_the_user_s_own_request() -> None:
    ended, block = decide_block(given_events(REQUESTED), "anna", "ben", AT)
    assert ended == FriendshipRemoved(remover_id="anna", other_id="ben", remover_setbacks=1)
    assert given_events(block).setbacks == {"anna": 1}


REMINDER = FriendshipCreated(requester_id="anna", addressee_id="ben", requester_setbacks=3, requested_at=AT - HOUR)


def test_a_pending_request_goes_on_for_the_one_who_is_blocked_alone() -> None:
    before = given_events(REMINDER)
    ended, block = decide_block(before, "ben", "anna", AT + HOUR)
    assert ended == FriendshipRemoved(remover_id="ben", other_id="anna", other_setbacks=3, request_goes_on=True)
    after = given_events(block)
    assert after == msgspec.structs.replace(before, blocked_by=("ben",))
    assert (relation(after, "anna"), relation(after, "ben")) == (Relation.OUTGOING, Relation.REMOVED)
    assert decide_add(after, "anna", "ben", AT) == ()


@pytest.mark.parametrize("before", [(), (REMOVED,)])
def test_a_block_without_anything_to_end_is_one_event(before: tuple[Event, ...]) -> None:
    (block,) = decide_block(given_events(*before), "anna", "ben", AT)
    assert isinstance(block, FriendshipBlocked)


def test_blocking_and_unblocking_twice_changes_nothing() -> None:
    assert decide_block(given_events(BLOCKED), "anna", "ben", AT) == ()
    assert decide_unblock(given_events(), "anna", "ben", AT) == ()
    assert decide_unblock(given_events(BLOCKED), "ben", "anna", AT) == ()


@pytest.mark.parametrize("decide", [decide_block, decide_unblock])
def test_nobody_blocks_themselves(decide: Callable[..., object]) -> None:
    with pytest.raises(SelfBlock):
        decide(given_events(), "anna", "anna", AT)


def test_each_may_block_the_other() -> None:
    (block,) = decide_block(given_events(BLOCKED), "ben", "anna", AT)
    both = given_events(block)
    assert both.blocked_by == ("anna", "ben")
    for user_id, other in (("anna", "ben"), ("ben", "anna")):
        with pytest.raises(Blocked):
            decide_add(both, user_id, other, AT)
    (unblock,) = decide_unblock(both, "anna", "ben", AT)
    assert given_events(unblock).blocked_by == ("ben",)


def test_a_blocked_user_s_request_is_outgoing_for_that_user_alone() -> None:
    assert decide_add(given_events(BLOCKED), "ben", "anna", AT) == (HELD,)
    state = given_events(HELD)
    assert (relation(state, "ben"), relation(state, "anna")) == (Relation.OUTGOING, Relation.REMOVED)
    assert decide_remove(state, "anna", "ben") == ()
    with pytest.raises(Blocked):
        decide_add(state, "anna", "ben", AT)


def test_the_end_of_a_block_drops_a_request_at_no_cost() -> None:
    held = msgspec.structs.replace(HELD, requester_setbacks=3)
    dropped, unblock = decide_unblock(given_events(held), "anna", "ben", AT)
    assert dropped == FriendshipRemoved(remover_id="anna", other_id="ben", other_setbacks=3, blocked_by=("anna",))
    assert unblock == FriendshipUnblocked(blocker_id="anna", blocked_id="ben", blocked_setbacks=3)
    (again,) = decide_add(given_events(unblock), "ben", "anna", AT)
    assert again == FriendshipCreated(requester_id="ben", addressee_id="anna", requester_setbacks=3)


def test_a_pause_from_before_a_block_outlasts_it() -> None:
    state = given_events(FriendshipRemoved(remover_id="anna", other_id="ben", other_setbacks=3))
    for decide in (decide_block, decide_unblock):
        (event,) = decide(state, "anna", "ben", AT + HOUR / 2)
        state = given_events(event)
    with pytest.raises(RequestTooSoon):
        decide_add(state, "ben", "anna", AT + HOUR / 2)
    assert decide_add(state, "ben", "anna", AT + HOUR) != ()


Decide = Callable[[Friendship, datetime], tuple[Event, ...]]
ACTIONS: dict[str, Decide] = {
    "ben adds": lambda state, now: decide_add(state, "ben", "anna", now),
    "ben removes": lambda state, now: decide_remove(state, "ben", "anna"),
    "anna adds": lambda state, now: decide_add(state, "anna", "ben", now),
    "anna removes": lambda state, now: decide_remove(state, "anna", "ben"),
    "anna blocks": lambda state, now: decide_block(state, "anna", "ben", now),
    "anna unblocks": lambda state, now: decide_unblock(state, "anna", "ben", now),
}


def outcome(state: Friendship, action: str, now: datetime) -> tuple[Friendship, object]:
    """The state after the action, and what ben receives: live events, and the answer if the action is ben's."""
    try:
        events = ACTIONS[action](state, now)
    except VestnikError as error:
        return state, (error.code, error.retry_after) if action.startswith("ben") else []
    for event in events:
        state = evolve(state, event, now)
    live: list[object] = [event.TYPE for event in events if event.TYPE in LIVE and not is_hidden(event)]
    return state, [*live, relation(state, "ben")] if action == "ben adds" else live


LIVE = ("friendship.created", "friendship.accepted", "friendship.removed")
STEP = st.tuples(st.sampled_from(sorted(ACTIONS)), st.sampled_from([0, 1, 24, 24 * 31]))


def is_hidden(event: Event) -> bool:
    """Whether ben receives no event: his own request goes on, and only the user who ended it is notified."""
    return isinstance(event, FriendshipRemoved) and event.request_goes_on


@given(st.lists(STEP, max_size=40))
def test_a_blocked_user_cannot_tell_a_block_from_a_removal_followed_by_silence(steps: list[tuple[str, int]]) -> None:
    """Until it ends: a dropped request can be made again immediately."""
    blocked = Friendship()
    ignored: Friendship | None = None
    now = AT
    for action, hours in steps:
        now += timedelta(hours=hours)
        before = blocked
        blocked, seen = outcome(blocked, action, now)
        if "anna" not in blocked.blocked_by:
            ignored = None
        elif ignored is None:
            # The block begins: a request of ben's stays, and all else ends.
            ignored = before
            if relation(before, "ben") is not Relation.OUTGOING:
                ignored, expected = outcome(before, "anna removes", now)
                assert seen == expected
            else:
                assert seen == []
        elif action.startswith("ben"):
            ignored, expected = outcome(ignored, action, now)
            assert seen == expected
        else:
            assert seen == []
