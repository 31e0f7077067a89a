"""Inserted rows are copied; those that exist after all are merged."""

from uuid import UUID

import pytest
from nats.aio.client import Client
from psycopg import sql

from contracts import subjects
from contracts.envelope import Recorded
from contracts.events.message import MessageSeen, MessageSent
from contracts.subjects import MESSAGING
from projections.engine import Projection, RowChanges, handles
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.merging.row_merging import RowGroup
from projections.engine.apply.writing import batch_transaction, statements
from projections.engine.rebuild.cutover import start_build
from projections.engine.storage.builds import Build, Connection
from tests.integration.projections.event_writer import RECIPIENT, Writer, conversation_ids, seen
from tests.integration.projections.sample_projection import Letters
from tests.integration.projections.stored_rows import stored


class Latest(Projection):
    """Inserts a row with each message, although a conversation has one row alone."""

    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {latest} (conversation_id uuid PRIMARY KEY, sequence bigint, text text, opening text, seen bigint)
    """

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        said = {"sequence": event.data.sequence, "text": event.data.text}
        opening = {"opening": f"{event.data.sequence}. {event.data.text}"}
        write.insert("latest", key={"conversation_id": event.aggregate_id}, set=said, first=opening)

    @handles(MessageSeen)
    def seen(self, event: Recorded[MessageSeen], write: RowChanges) -> None:
        write.upsert(
            "latest", key={"conversation_id": event.data.conversation_id}, greatest={"seen": event.data.sequence}
        )


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The table and the number of rows of each copied group."""
    groups: list[tuple[str, int]] = []

    def copy_statement(group: RowGroup) -> sql.Composed:
        groups.append((group.shape.name, len(group.keys)))
        return statements.copy_statement(group)

    monkeypatch.setattr(batch_transaction, "_COPIED_FROM", 2)
    monkeypatch.setattr(batch_transaction, "copy_statement", copy_statement)
    return groups


async def test_inserted_rows_that_exist_after_all_are_merged_in_that_batch_alone(
    streams: Client, writer: Writer, conn: Connection, copied: list[tuple[str, int]]
) -> None:
    known, new = conversation_ids(5), conversation_ids(3)
    for conversations in (known, known, new):
        for conversation in conversations:
            await writer.say(conversation, "tab\tand\nline \\N")
    messages = await stored(streams)
    one = await BuildWriter.open(conn, Latest, await start_build(conn, Latest))
    for begin, end in ((0, 5), (5, 10), (10, 13)):
        await one.apply(MESSAGING, messages[begin:end], end)
    cursor = await conn.execute(
        "SELECT sequence, text, opening, count(*) FROM latest_v1_b1 GROUP BY 1, 2, 3 ORDER BY sequence"
    )
    text = "tab\tand\nline \\N"
    assert await cursor.fetchall() == [(1, text, f"1. {text}", 3), (2, text, f"1. {text}", 5)]
    # Copying the second batch was refused.
    assert copied == [("latest", 5), ("latest", 5), ("latest", 3)]
    assert one.letters == (0, 0)


async def test_a_batch_inserts_rows_and_merges_into_them_and_into_earlier_ones(
    streams: Client, writer: Writer, conn: Connection, copied: list[tuple[str, int]]
) -> None:
    earlier, *later = conversation_ids(4)
    await writer.say(earlier, "a")
    await writer.append(subjects.read_mark(earlier, RECIPIENT), seen(earlier, 1))
    for conversation in later:
        await writer.say(conversation, "b")
    await writer.append(subjects.read_mark(later[0], RECIPIENT), seen(later[0], 1))
    await writer.append(subjects.read_mark(earlier, RECIPIENT), seen(earlier, 2))
    await writer.append(subjects.read_mark(later[0], RECIPIENT), seen(later[0], 3))
    messages = await stored(streams)
    one = await BuildWriter.open(conn, Latest, await start_build(conn, Latest))
    await one.apply(MESSAGING, messages[:1], 1)
    await one.apply(MESSAGING, messages[1:], messages[-1].sequence)
    cursor = await conn.execute("SELECT conversation_id, text, seen FROM latest_v1_b1")
    assert {row[0]: row[1:] for row in await cursor.fetchall()} == {
        UUID(earlier): ("a", 2),
        UUID(later[0]): ("b", 3),
        UUID(later[1]): ("b", None),
        UUID(later[2]): ("b", None),
    }
    assert copied == [("latest", 2)]


async def test_only_inserted_rows_are_copied(
    streams: Client, writer: Writer, conn: Connection, build: Build, copied: list[tuple[str, int]]
) -> None:
    await writer.fill(conversation_ids(2), 2)
    one = await BuildWriter.open(conn, Letters, build)
    await one.apply(MESSAGING, await stored(streams), 4)
    assert copied == [("texts", 4)]
