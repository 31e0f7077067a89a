"""Folds look up handled tables, and handlers look up folded ones."""

import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import Recorded
from contracts.events.message import MessageSent
from contracts.positions import Position
from contracts.subjects import MESSAGING
from projections.engine import Projection, folds, row_of
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.dead_letters import resolution
from projections.engine.rebuild.cutover import start_build
from projections.engine.storage.builds import Connection
from projections.engine.storage.tables import BadTables
from tests.integration.projections.event_writer import PATIENCE, RECIPIENT, Opened, Writer, seen, sent
from tests.integration.projections.folding import Operator, dead_letters, message
from tests.integration.projections.sample_lookups import CONVERSATIONS, Mark, Readers, Text
from tests.integration.projections.stored_rows import rows


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_a_fold_and_a_handler_look_up_what_the_other_has_written_in_the_batch(
    conn: Connection, size: int
) -> None:
    (conversation, _) = CONVERSATIONS
    messages = []
    for sequence in range(1, 12):
        is_mark = sequence in (4, 8, 9)
        event = seen(conversation, sequence // 2) if is_mark else sent(f"text {sequence}", sequence)
        subject = subjects.read_mark(conversation, RECIPIENT) if is_mark else subjects.conversation(conversation)
        messages.append(message(sequence, subject, event))
    build = await start_build(conn, Readers)
    writer = await BuildWriter.open(conn, Readers, build)
    for start in range(0, len(messages), size):
        part = messages[start : start + size]
        await writer.apply(MESSAGING, part, part[-1].sequence)
    assert await dead_letters(conn, build) == []
    assert await rows(conn, "SELECT sent, unread FROM readers_unread_v1_b1") == [(8, 7)]


async def test_a_fold_with_lookups_goes_on_from_its_row_in_a_retry(
    streams: Client, writer: Writer, run: Opened, conn: Connection
) -> None:
    runners = await run(Readers)
    last = await writer.say(CONVERSATIONS[0], "a", "poison", "b")
    await runners.waiting.wait(Readers, Position.at(MESSAGING, last), PATIENCE)
    (head,) = await resolution.first_failures(conn, Readers)
    await Operator(conn, streams, Readers).discard()
    assert head.reason.startswith("ValueError: details withheld")
    assert await rows(conn, f"SELECT sent, unread FROM {Readers.view('unread')}") == [(2, 3)]


async def test_of_a_folded_table_only_what_is_folded_is_looked_up(conn: Connection) -> None:
    class Beside(Projection):
        streams = (MESSAGING,)
        tables = "CREATE TABLE {beside} (id uuid PRIMARY KEY, sequence bigint, text text DEFAULT 'not folded')"

        @folds(MessageSent, table="beside", key="id", row=row_of("beside", Text, key=lambda event: {"id": RECIPIENT}))
        def sent(self, before: Mark | None, event: Recorded[MessageSent], row: Text | None) -> Mark:
            return Mark(event.sequence)

    build = await start_build(conn, Beside)
    with pytest.raises(BadTables, match=r"Text\.text is looked up in beside, but not a field of the Mark that events"):
        await BuildWriter.open(conn, Beside, build)
