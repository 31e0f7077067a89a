"""What a projection may fold, and the errors of one that cannot work."""

from collections.abc import Callable
from typing import ClassVar

import msgspec
import pytest

from contracts.envelope import Recorded
from contracts.events.friendship import FriendshipAccepted, FriendshipRemoved
from contracts.events.message import MessageSeen, MessageSent
from contracts.events.profile import ProfileCreated
from contracts.subjects import CONTACT, MESSAGING
from projections.engine import Projection, RowChanges, folds, handles


class Count(msgspec.Struct):
    number: int


class Other(msgspec.Struct):
    number: int


TABLES = "CREATE TABLE {counts} (id uuid PRIMARY KEY, number bigint)"


class Counts(Projection):
    streams = (MESSAGING, CONTACT)
    tables = TABLES

    @folds(MessageSent, table="counts", key="id")
    def sent(self, row: Count | None, event: Recorded[MessageSent]) -> Count | None:
        return row

    @folds(MessageSeen, table="counts", key=lambda event: {"id": event.data.conversation_id})
    def seen(self, row: Count | None, event: Recorded[MessageSeen]) -> Count:
        return row or Count(1)


def test_a_table_is_folded_from_the_events_of_one_stream() -> None:
    Counts.check()
    assert list(Counts().folds()) == ["message.sent", "message.seen"]


def test_a_key_that_is_the_aggregate_has_its_events_on_one_subject() -> None:
    class OfOne(Projection):
        streams = (MESSAGING,)
        tables = TABLES

        @folds(MessageSent, table="counts", key="id")
        def sent(self, row: Count | None, event: Recorded[MessageSent]) -> Count | None:
            return row

    class Wider(Projection):
        streams = (MESSAGING,)
        tables = TABLES

        @folds(MessageSent, table="counts", key=lambda event: {"id": event.data.sender_id})
        def sent(self, row: Count | None, event: Recorded[MessageSent]) -> Count | None:
            return row

    class ByBoth(Projection):
        streams = (CONTACT,)
        tables = TABLES

        @folds(FriendshipAccepted, table="counts", key="id")
        def accepted(self, row: Count | None, event: Recorded[FriendshipAccepted]) -> Count | None:
            return row

        @folds(FriendshipRemoved, table="counts", key=lambda event: {"id": event.data.remover_id})
        def removed(self, row: Count | None, event: Recorded[FriendshipRemoved]) -> Count | None:
            return row

    from projections.engine.folds import folded_tables

    def subjects(projection: type[Projection]) -> str:
        return folded_tables(projection().folds())["counts"].subjects_of("a")

    # A row of the first fold may have events of other aggregates by the second.
    assert subjects(ByBoth) == "vestnik.contact.friendship.*"
    assert subjects(OfOne) == "vestnik.messaging.conversation.a"
    assert subjects(Wider) == "vestnik.messaging.conversation.*"
    assert subjects(Counts) == "vestnik.messaging.>"


class NoTable(Projection):
    streams = (MESSAGING,)
    tables = TABLES

    @folds(MessageSent, table="others", key="id")
    def sent(self, row: Count | None, event: Recorded[MessageSent]) -> Count | None:
        return row


class NoRow(Projection):
    streams = (MESSAGING,)
    tables = TABLES

    @folds(MessageSent, table="counts", key="id")  # type: ignore[type-var]  # the error
    def sent(self, row: int | None, event: Recorded[MessageSent]) -> int | None:
        return row


class Empty(msgspec.Struct):
    pass


class NoFields(Projection):
    streams = (MESSAGING,)
    tables = TABLES

    @folds(MessageSent, table="counts", key="id")
    def sent(self, row: Empty | None, event: Recorded[MessageSent]) -> Empty:
        return Empty()


class TwoHandlers(Projection):
    streams = (MESSAGING,)
    tables = TABLES

    @handles(MessageSent)
    def handled(self, event: Recorded[MessageSent], write: RowChanges) -> None: ...

    @folds(MessageSent, table="counts", key="id")
    def sent(self, row: Count | None, event: Recorded[MessageSent]) -> Count | None:
        return row


class TwoStreams(Counts):
    tables: ClassVar[str] = TABLES

    @folds(FriendshipAccepted, table="counts", key="id")
    def accepted(self, row: Count | None, event: Recorded[FriendshipAccepted]) -> Count | None:
        return row


class OfAnotherStream(Projection):
    streams = (MESSAGING,)
    tables = TABLES

    @folds(ProfileCreated, table="counts", key="id")
    def created(self, row: Count | None, event: Recorded[ProfileCreated]) -> Count | None:
        return row


class TwoRows(Projection):
    streams = (MESSAGING,)
    tables = TABLES

    @folds(MessageSent, table="counts", key="id")
    def sent(self, row: Count | None, event: Recorded[MessageSent]) -> Count | None:
        return row

    @folds(MessageSeen, table="counts", key="id")
    def seen(self, row: Other | None, event: Recorded[MessageSeen]) -> Other | None:
        return row


@pytest.mark.parametrize(
    ("projection", "method", "reason"),
    [
        (NoTable, NoTable.sent, "there is no table {others}"),
        (NoRow, NoRow.sent, "a fold returns a msgspec struct or None"),
        (NoFields, NoFields.sent, "Empty has no fields; a row has a column beside its key"),
        (TwoHandlers, TwoHandlers.sent, "MessageSent has another handler"),
        (TwoStreams, TwoStreams.accepted, "a fold reads one stream, and {counts} is folded from MESSAGING and CONTACT"),
        (OfAnotherStream, OfAnotherStream.created, "ProfileCreated is not in the projection's streams, but in PROFILE"),
        (TwoRows, TwoRows.seen, "the rows of {counts} are of one type, Count or Other"),
    ],
)
def test_a_fold_that_cannot_work_is_named_with_its_line(
    projection: type[Projection], method: Callable[..., object], reason: str
) -> None:
    with pytest.raises(ValueError) as error:
        projection.check()
    line = method.__code__.co_firstlineno
    assert str(error.value).startswith(f"projection {projection.name}, {method.__name__} in line {line}: {reason}")
