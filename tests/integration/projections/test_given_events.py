"""The harness for tests of projections finds what would not survive a rebuild."""

import logging
import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import ClassVar
from uuid import UUID, uuid4
from weakref import WeakKeyDictionary

import msgspec
import pytest

from contracts.envelope import Recorded
from contracts.events.event import Event
from contracts.events.friendship import FriendshipCreated
from contracts.events.message import MessageSeen, MessageSent
from contracts.events.session import SessionRevoked
from contracts.events.user import UsernameClaimed
from contracts.subjects import MESSAGING, SESSION
from contracts.values.ids import new_id
from projections.engine import Projection, RowChanges, folds, handles, row_of
from projections.friends import Friends
from tests.fix_read_models import OpenReadModel, opened
from tests.handler_watch import after_a_restart
from tests.integration.projections.event_writer import RECIPIENT, SENDER, seen, sent


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


class Refusing(Projection):
    streams = (MESSAGING,)
    tables = "CREATE TABLE {refusing} (id uuid PRIMARY KEY)"

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        raise ValueError(f"not {event.data.text}")


async def test_the_reason_is_shown_whole_even_if_the_event_has_personal_data(database_url: str) -> None:
    with pytest.raises(AssertionError, match=r"message\.sent: ValueError: not one"):
        await happened(database_url, sent("one", 1), to=Refusing)


class Keeping(Projection):
    """A table for the wrong projections below."""

    streams = (MESSAGING,)
    tables = "CREATE TABLE {keeping} (sequence bigint PRIMARY KEY, value text)"

    def keep(self, event: Recorded[MessageSent], write: RowChanges, value: object) -> None:
        write.upsert("keeping", key={"sequence": event.sequence}, set={"value": str(value)})


IMPURE: dict[str, Callable[[Recorded[MessageSent]], object]] = {
    "datetime.now": lambda event: datetime.now(tz=UTC) > event.at,
    "datetime.today": lambda _: datetime.today(),  # noqa: DTZ002 - what must be found
    "time.time": lambda _: time.time(),
    "time.monotonic": lambda _: time.monotonic(),
    "Random.random": lambda _: random.random(),
    "random.choice": lambda _: random.choice("ab"),
    "uuid.uuid4": lambda _: uuid4(),
    "new_id": lambda _: new_id(),
    "os.environ.__getitem__": lambda _: os.environ.get("HOME"),
    "posix.getpid": lambda _: os.getpid(),
    "io.open": lambda _: open(__file__).close(),
    "hash": lambda event: hash(event.data.sender_id),
}


@pytest.mark.parametrize("call", IMPURE)
async def test_a_handler_that_looks_beyond_its_event_is_named_with_the_call(database_url: str, call: str) -> None:
    class Looking(Keeping):
        @handles(MessageSent)
        def writing(self, event: Recorded[MessageSent], write: RowChanges) -> None:
            try:
                value = IMPURE[call](event)
            except Exception:
                value = None
            self.keep(event, write, value)

    with pytest.raises(AssertionError, match=rf"looking\.writing calls {call}.*\(test_given_events.py, line \d+\)"):
        await happened(database_url, sent("one", 1), to=Looking)


class Kept(msgspec.Struct, frozen=True):
    value: str


class Folding(Projection):
    """A fold and a lookup whose keys look beyond the event."""

    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {folding} (id uuid PRIMARY KEY, value text);
        CREATE TABLE {moments} (at timestamptz PRIMARY KEY, value text)
    """

    @folds(MessageSent, table="folding", key=lambda event: {"id": new_id()})
    def kept(self, row: Kept | None, event: Recorded[MessageSent]) -> Kept:
        return Kept("")

    @handles(MessageSeen, row=row_of("moments", Kept, key=lambda event: {"at": datetime.now(tz=UTC)}))
    def seen(self, event: Recorded[MessageSeen], write: RowChanges, row: Kept | None) -> None: ...


async def test_a_key_that_looks_beyond_the_event_is_named_with_the_call(database_url: str) -> None:
    with pytest.raises(AssertionError, match=r"folding\.kept's key calls new_id \(test_given_events.py, line \d+\)"):
        await happened(database_url, sent("one", 1), to=Folding)
    with pytest.raises(AssertionError, match=r"folding\.seen's key calls datetime\.now"):
        await happened(database_url, seen(new_id(), 1), to=Folding)


async def test_what_is_the_same_in_every_process_is_allowed(database_url: str) -> None:
    class Reckoning(Keeping):
        @handles(MessageSent)
        def writing(self, event: Recorded[MessageSent], write: RowChanges) -> None:
            logging.getLogger(__name__).warning("a message")
            day = datetime.strptime("2026-01-31 +0000", "%Y-%m-%d %z")
            self.keep(event, write, f"{(day - event.at).days} {event.at:%Y} {len({UUID(event.data.sender_id)})}")

    await happened(database_url, sent("one", 1), sent("two", 2), to=Reckoning)


def _in_self(projection: "Remembering") -> int:
    projection.count += 1
    return projection.count


def _in_a_list_of_self(projection: "Remembering") -> int:
    projection.seen.append(1)
    return len(projection.seen)


def _in_the_class(projection: "Remembering") -> int:
    projection.shared["count"] = projection.shared.get("count", 0) + 1
    return projection.shared["count"]


_counted: list[int] = []


def _in_the_module(_: "Remembering") -> int:
    _counted.append(1)
    return len(_counted)


class Remembering(Keeping):
    shared: ClassVar[dict[str, int]] = {}
    way: ClassVar[Callable[["Remembering"], int]]

    def __init__(self) -> None:
        self.count = 0
        self.seen: list[int] = []

    @handles(MessageSent)
    def writing(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        self.keep(event, write, type(self).way(self))


@pytest.mark.parametrize(
    ("way", "name"),
    [
        (_in_self, "self.count"),
        (_in_a_list_of_self, "self.seen"),
        (_in_the_class, "Remembering.shared"),
        (_in_the_module, "the module's _counted"),
    ],
)
async def test_a_handler_that_keeps_state_is_named_with_where(
    database_url: str, monkeypatch: pytest.MonkeyPatch, way: Callable[[Remembering], int], name: str
) -> None:
    monkeypatch.setattr(Remembering, "way", staticmethod(way), raising=False)
    with pytest.raises(AssertionError, match=rf"remembering\.writing changes {name} and so keeps state"):
        await happened(database_url, sent("one", 1), to=Remembering)


def counting() -> Callable[[Projection], int]:
    """Counts the calls per projection object, where no fingerprint shows it."""
    counts: WeakKeyDictionary[Projection, int] = WeakKeyDictionary()

    def count(projection: Projection) -> int:
        counts[projection] = counts.get(projection, 0) + 1
        return counts[projection]

    return count


@pytest.mark.parametrize(
    ("value", "how"),
    [
        (lambda event, _: datetime.fromtimestamp(event.at.timestamp()), "in one go"),  # noqa: DTZ006 - wrong here
        (lambda _, count: count, "one by one, with a restart halfway"),
        (lambda _, count: count % 2, "with a new instance for each batch"),
    ],
)
async def test_what_no_one_sees_is_found_in_the_rows(
    database_url: str, value: Callable[[Recorded[MessageSent], int], object], how: str
) -> None:
    count = counting()

    class Hiding(Keeping):
        @handles(MessageSent)
        def writing(self, event: Recorded[MessageSent], write: RowChanges) -> None:
            self.keep(event, write, value(event, count(self)))

    with pytest.raises(AssertionError, match=f"other rows when the events are applied {how}"):
        await happened(database_url, *(sent(str(number), number) for number in range(1, 5)), to=Hiding)


def test_another_process_loads_the_module_again() -> None:
    with after_a_restart(Friends) as again:
        assert again is not Friends
        assert (again.name, again.tables, again.filters()) == (Friends.name, Friends.tables, Friends.filters())
