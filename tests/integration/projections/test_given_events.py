"""The harness for tests of projections finds what would not survive a rebuild."""

import pytest

from contracts.envelope import Recorded
from contracts.events.event import Event
from contracts.events.friendship import FriendshipCreated
from contracts.events.message import MessageSent
from contracts.events.session import SessionRevoked
from contracts.events.user import UsernameClaimed
from contracts.subjects import MESSAGING, SESSION
from projections.engine import Projection, RowChanges, handles
from projections.friends import Friends
from tests.fix_read_models import OpenReadModel, opened
from tests.integration.projections.event_writer import RECIPIENT, SENDER, sent


class LastSeenDoing(Projection):
    """Wrong: what comes last in one of two streams, which have no order between them."""

    streams = (MESSAGING, SESSION)
    tables = "CREATE TABLE {last_seen_doing} (user_id uuid PRIMARY KEY, doing text, at timestamptz)"

    @handles(MessageSent)
    def writing(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        write.upsert("last_seen_doing", key={"user_id": event.data.sender_id}, set={"doing": "writing", "at": event.at})

    @handles(SessionRevoked)
    def leaving(self, event: Recorded[SessionRevoked], write: RowChanges) -> None:
        if event.data.reason == "impossible":
            raise ValueError("no such reason")
        write.upsert("last_seen_doing", key={"user_id": event.data.user_id}, set={"doing": "leaving", "at": event.at})


async def happened(database_url: str, *events: Event, to: type[Projection] = LastSeenDoing) -> None:
    async with opened(to, database_url) as model:
        await model.when(*events)


async def test_rows_follow_from_the_events(read_model: OpenReadModel) -> None:
    model = await read_model(LastSeenDoing)
    await model.given(sent("one", 1), sent("two", 2), at="2026-01-31T12:00:00Z")
    await model.when(sent("three", 3))
    rows = await model.rows("SELECT user_id, doing, at = '2026-01-31T12:00:02Z' FROM {last_seen_doing}")
    assert rows == [(SENDER, "writing", True)]


async def test_handlers_that_do_not_commute_are_found(database_url: str) -> None:
    with pytest.raises(AssertionError, match="other rows"):
        await happened(database_url, SessionRevoked(user_id=SENDER, reason="logout"), sent("one", 1))


async def test_an_event_that_the_projection_never_sees_fails_the_test(database_url: str) -> None:
    with pytest.raises(AssertionError, match="does not read CONTACT"):
        await happened(database_url, FriendshipCreated(requester_id=SENDER, addressee_id=RECIPIENT))
    with pytest.raises(AssertionError, match=r"does not see username\.claimed"):
        await happened(database_url, UsernameClaimed(user_id=SENDER), to=Friends)


async def test_an_event_that_cannot_be_applied_fails_the_test(database_url: str) -> None:
    with pytest.raises(AssertionError, match="could not be applied"):
        await happened(database_url, SessionRevoked(user_id=SENDER, reason="impossible"))
