"""An event whose value or row the database refuses ends as a dead letter, whatever the value is."""

from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest
from nats.aio.client import Client

from contracts.envelope import Recorded
from contracts.events.message import MessageSent
from contracts.subjects import MESSAGING
from projections.engine import Projection, RowChanges, handles
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.writing import batch_transaction
from projections.engine.rebuild.cutover import start_build
from projections.engine.storage.builds import Connection
from projections.engine.storage.dead_letters import Counts
from tests.integration.projections.event_writer import Writer, conversation_ids
from tests.integration.projections.stored_rows import number, stored

NO_TEXT = {
    "too early": (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))), None),
    "too long": (None, 10**5_000),
    "too large": (None, Decimal("1e200000")),
    "half": (None, None, "\ud800"),
    "nothing": (None, None, "\x00"),
    "deep": (None, None, None, {"a": "\ud800"}),
}


class Values(Projection):
    """Takes a text for values that the database does not take."""

    version = 1
    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {values} (id uuid PRIMARY KEY, at timestamptz, number numeric, text text, json jsonb, name text)
    """

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        name = str(event.data.text)
        values = dict(zip(("at", "number", "text", "json"), (*NO_TEXT.get(name, ()), *[None] * 4), strict=False))
        write.insert("values", key={"id": event.data.message_id}, set={**values, "name": name})


@pytest.mark.parametrize("copied_from", [1, 10_000])
async def test_whatever_an_event_makes_of_a_value_it_ends_as_a_dead_letter(
    streams: Client, writer: Writer, conn: Connection, copied_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_transaction, "_COPIED_FROM", copied_from)
    build = await start_build(conn, Values)
    conversations = conversation_ids(len(NO_TEXT))
    for conversation, poison in zip(conversations, NO_TEXT, strict=True):
        last = await writer.say(conversation, "fine", poison, "behind it")
    opened = await BuildWriter.open(conn, Values, build)
    await opened.apply(MESSAGING, await stored(streams), last)
    assert opened.letters == Counts(failed=len(NO_TEXT), parked=len(NO_TEXT))
    assert opened.position.sequence(MESSAGING) == last
    assert await number(conn, "SELECT count(*) FROM values_v1_b1 WHERE name = 'fine'") == len(NO_TEXT)


class Parts(Projection):
    """Its table divides by zero for the second message of a conversation."""

    version = 1
    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {parts} (
            id uuid PRIMARY KEY, number bigint, part bigint GENERATED ALWAYS AS (100 / (number - 2)) STORED
        )
    """

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        write.upsert("parts", key={"id": event.data.message_id}, set={"number": event.data.sequence})


async def test_a_table_that_divides_by_zero_is_not_taken_for_a_checkpoint_that_has_moved(
    streams: Client, writer: Writer, conn: Connection
) -> None:
    build = await start_build(conn, Parts)
    one, other = conversation_ids(2)
    await writer.say(one, "first", "second", "third")
    last = await writer.say(other, "first")
    opened = await BuildWriter.open(conn, Parts, build)
    await opened.apply(MESSAGING, await stored(streams), last)
    assert opened.letters == Counts(failed=1, parked=1)
    assert await number(conn, "SELECT count(*) FROM parts_v1_b1") == 2
