"""When a friend request is reminded of, and when it is cancelled."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from contracts.events.event import Event
from contracts.events.friendship import (
    FriendshipAccepted,
    FriendshipBlocked,
    FriendshipCreated,
    FriendshipRemoved,
)
from services.contact.domain import (
    WITHDRAWN,
    Friendship,
    Relation,
    decide_add,
    decide_block,
    decide_remove,
    evolve,
    relation,
)
from services.contact.requests.domain import RequestTerms, decide_cancel, decide_remind

AT = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TERMS = RequestTerms.of_days(7, 14)
REQUESTED = FriendshipCreated(requester_id="anna", addressee_id="ben", requester_setbacks=2, addressee_setbacks=3)


def state_of(*events: tuple[Event, datetime]) -> Friendship:
    state = Friendship()
    for event, at in events:
        state = evolve(state, event, at)
    return state


def reminded(at: datetime = AT + 7 * DAY) -> Friendship:
    state = state_of((REQUESTED, AT))
    (reminder,) = decide_remind(state, "ben", TERMS, at)
    return evolve(state, reminder, at)


def test_the_addressee_is_reminded_after_the_term_and_once() -> None:
    state = state_of((REQUESTED, AT))
    assert decide_remind(state, "ben", TERMS, AT + 7 * DAY - timedelta.resolution) == ()
    (reminder,) = decide_remind(state, "ben", TERMS, AT + 7 * DAY)
    assert reminder == FriendshipCreated(
        requester_id="anna", addressee_id="ben", requester_setbacks=2, addressee_setbacks=3, requested_at=AT
    )
    assert decide_remind(evolve(state, reminder, AT + 7 * DAY), "ben", TERMS, AT + 100 * DAY) == ()


def test_a_reminder_changes_nothing_else() -> None:
    before, after = state_of((REQUESTED, AT)), reminded()
    assert (after.status, after.requester_id, after.setbacks, after.requested_at) == (
        before.status,
        before.requester_id,
        before.setbacks,
        before.requested_at,
    )
    assert decide_add(after, "ben", "anna", AT) == (FriendshipAccepted(requester_id="anna", addressee_id="ben"),)
    assert decide_add(after, "anna", "ben", AT) == ()
    assert decide_remove(after, "ben", "anna") == decide_remove(before, "ben", "anna")


def test_a_request_is_cancelled_after_its_term_as_if_withdrawn() -> None:
    assert decide_cancel(reminded(), "ben", TERMS, AT + 14 * DAY - timedelta.resolution) == ()
    (cancelled,) = decide_cancel(reminded(), "ben", TERMS, AT + 14 * DAY)
    assert cancelled == FriendshipRemoved(
        remover_id="anna", other_id="ben", remover_setbacks=2 + WITHDRAWN, other_setbacks=3, expired=True
    )
    after = evolve(reminded(), cancelled, AT + 14 * DAY)
    assert relation(after, "anna") is relation(after, "ben") is Relation.REMOVED
    assert (after.requested_at, after.reminded_at) == (None, None)


def test_an_old_request_is_reminded_of_first_and_cancelled_later() -> None:
    """Such as one that was sent before there were reminders."""
    late = AT + 100 * DAY
    assert decide_cancel(state_of((REQUESTED, AT)), "ben", TERMS, late) == ()
    assert decide_cancel(reminded(late), "ben", TERMS, late + 7 * DAY - timedelta.resolution) == ()
    assert decide_cancel(reminded(late), "ben", TERMS, late + 7 * DAY)


@pytest.mark.parametrize(
    ("remind", "cancel", "reminds", "cancels"),
    [(0, 0, False, False), (7, 0, True, False), (0, 14, False, True), (14, 14, True, True), (20, 14, True, True)],
)
def test_either_can_be_switched_off_and_a_reminder_that_would_come_too_late_delays_nothing(
    remind: float, cancel: float, reminds: bool, cancels: bool
) -> None:
    terms, late = RequestTerms.of_days(remind, cancel), AT + 1_000 * DAY
    state = state_of((REQUESTED, AT))
    assert bool(decide_remind(state, "ben", terms, late)) is reminds
    assert bool(decide_cancel(state, "ben", terms, late)) is cancels


@pytest.mark.parametrize(
    "answer",
    [
        FriendshipAccepted(requester_id="anna", addressee_id="ben"),
        FriendshipRemoved(remover_id="ben", other_id="anna"),
        FriendshipBlocked(blocker_id="ben", blocked_id="anna", blocked_by=("ben",)),
    ],
)
def test_an_answered_request_is_neither_reminded_of_nor_cancelled(answer: Event) -> None:
    state = evolve(reminded(), answer, AT + 8 * DAY)
    assert decide_remind(state, "ben", TERMS, AT + 100 * DAY) == ()
    assert decide_cancel(state, "ben", TERMS, AT + 100 * DAY) == ()


def test_a_timer_of_an_earlier_request_in_the_other_direction_does_nothing() -> None:
    declined = (FriendshipRemoved(remover_id="ben", other_id="anna"), AT + DAY)
    state = state_of((REQUESTED, AT), declined, (FriendshipCreated(requester_id="ben", addressee_id="anna"), AT + DAY))
    late = AT + 100 * DAY
    assert decide_remind(state, "ben", TERMS, late) == ()
    (reminder,) = decide_remind(state, "anna", TERMS, late)
    state = evolve(state, reminder, late)
    assert decide_cancel(state, "ben", TERMS, late + 100 * DAY) == ()
    assert decide_cancel(state, "anna", TERMS, late + 100 * DAY) != ()


def test_a_request_to_someone_who_blocks_lasts_as_long_as_any_other() -> None:
    request = FriendshipCreated(requester_id="anna", addressee_id="ben", blocked_by=("ben",))
    state = state_of((request, AT))
    (reminder,) = decide_remind(state, "ben", TERMS, AT + 7 * DAY)
    assert isinstance(reminder, FriendshipCreated)
    assert reminder.blocked_by == ("ben",)
    state = evolve(state, reminder, AT + 7 * DAY)
    (cancelled,) = decide_cancel(state, "ben", TERMS, AT + 14 * DAY)
    assert isinstance(cancelled, FriendshipRemoved)
    assert cancelled.blocked_by == ("ben",)


def test_a_block_changes_neither_when_a_pending_request_ends_nor_what_it_costs() -> None:
    before = reminded()
    (_, block) = decide_block(before, "ben", "anna", AT + 9 * DAY)
    after = evolve(Friendship(), block, AT + 9 * DAY)
    assert decide_cancel(after, "ben", TERMS, AT + 14 * DAY - timedelta.resolution) == ()
    (cancelled,) = decide_cancel(before, "ben", TERMS, AT + 14 * DAY)
    (held,) = decide_cancel(after, "ben", TERMS, AT + 14 * DAY)
    assert isinstance(cancelled, FriendshipRemoved)
    assert held == msgspec.structs.replace(cancelled, blocked_by=("ben",))
    assert decide_remind(after, "ben", TERMS, AT + 9 * DAY) == ()
