"""The timers of friend requests."""

from datetime import UTC, datetime, timedelta

from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved
from contracts.values.ids import new_id
from projections.friend_request_deadlines import FriendRequestDeadlines
from projections.friends import Friends
from tests.fix_read_models import OpenReadModel

ANNA, BORIS, CARL = new_id(), new_id(), new_id()
ASKED = datetime(2026, 1, 31, 12, tzinfo=UTC)
REMINDED = ASKED + timedelta(days=7)
REMINDER = FriendshipCreated(requester_id=ANNA, addressee_id=BORIS, requested_at=ASKED)
ROWS = (
    "SELECT requester_id, addressee_id, requested_at, reminded_at FROM {friend_request_deadlines} ORDER BY requested_at"
)


async def test_a_pending_request_has_a_row_until_it_is_answered_or_cancelled(read_model: OpenReadModel) -> None:
    model = await read_model(FriendRequestDeadlines)
    await model.given(FriendshipCreated(requester_id=ANNA, addressee_id=BORIS), at=ASKED)
    await model.when(FriendshipCreated(requester_id=CARL, addressee_id=ANNA), at=ASKED + timedelta(hours=1))
    assert await model.rows(ROWS) == [
        (ANNA, BORIS, ASKED, None),
        (CARL, ANNA, ASKED + timedelta(hours=1), None),
    ]
    await model.when(REMINDER, at=REMINDED)
    await model.when(FriendshipAccepted(requester_id=CARL, addressee_id=ANNA))
    assert await model.rows(ROWS) == [(ANNA, BORIS, ASKED, REMINDED)]
    await model.when(FriendshipRemoved(remover_id=ANNA, other_id=BORIS, expired=True))
    assert await model.rows(ROWS) == []
    await model.when(FriendshipCreated(requester_id=BORIS, addressee_id=ANNA), at=REMINDED)
    assert await model.rows(ROWS) == [(BORIS, ANNA, REMINDED, None)]


async def test_to_both_a_request_is_as_old_as_it_was_before_the_reminder(read_model: OpenReadModel) -> None:
    model = await read_model(Friends)
    await model.given(FriendshipCreated(requester_id=ANNA, addressee_id=BORIS), at=ASKED)
    before = await model.rows("SELECT * FROM {friends} ORDER BY user_id")
    await model.when(REMINDER, at=REMINDED)
    assert await model.rows("SELECT * FROM {friends} ORDER BY user_id") == before
    assert await model.rows("SELECT count(*) FROM {friend_changes}") == [(2,)]
