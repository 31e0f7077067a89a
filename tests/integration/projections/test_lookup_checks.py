"""What cannot be looked up is refused: tables of other projections, unfit columns, changes made by the database."""

import pytest

from contracts.envelope import Recorded
from contracts.events.message import MessageSent
from contracts.subjects import MESSAGING
from projections.engine import Projection, RowChanges, handles, other_than, row_of, rows_of
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.rebuild.cutover import start_build
from projections.engine.storage.builds import Connection
from projections.engine.storage.tables import BadTables
from tests.integration.projections.folding import said
from tests.integration.projections.sample_lookups import CONVERSATIONS, Text
from tests.integration.projections.stored_rows import rows


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ("id uuid PRIMARY KEY, text numeric(10, 2)", "text rounds or pads its values, and cannot be looked up"),
        ("id uuid PRIMARY KEY, text real", "text is of type real, which cannot be looked up"),
        ("id numeric PRIMARY KEY, text text", "id is of type numeric, which cannot be looked up as a key"),
    ],
)
async def test_a_column_that_changes_its_values_cannot_be_looked_up(
    conn: Connection, columns: str, reason: str
) -> None:
    class Rounded(Projection):
        streams = (MESSAGING,)
        tables = f"CREATE TABLE {{rounded}} ({columns})"

        @handles(MessageSent, row=row_of("rounded", Text, key=lambda event: {"id": event.aggregate_id}))
        def sent(self, event: Recorded[MessageSent], write: RowChanges, row: Text | None) -> None: ...

    build = await start_build(conn, Rounded)

    async def apply() -> None:
        writer = await BuildWriter.open(conn, Rounded, build)
        await writer.apply(MESSAGING, said((CONVERSATIONS[0], "a")), 1)

    with pytest.raises(BadTables, match=f"projection rounded: rounded.{reason}"):
        await apply()


async def test_what_a_lookup_cannot_evaluate_in_memory_is_refused(conn: Connection) -> None:
    class Conditional(Projection):
        streams = (MESSAGING,)
        tables = "CREATE TABLE {conditional} (id uuid PRIMARY KEY, text text)"

        @handles(MessageSent, row=row_of("conditional", Text, key=lambda event: {"id": event.aggregate_id}))
        def sent(self, event: Recorded[MessageSent], write: RowChanges, row: Text | None) -> None:
            write.upsert(
                "conditional", key={"id": event.aggregate_id}, set={"text": ""}, where={"text": other_than("a")}
            )

    build = await start_build(conn, Conditional)
    writer = await BuildWriter.open(conn, Conditional, build)
    await writer.apply(MESSAGING, said((CONVERSATIONS[0], "a")), 1)
    assert await rows(conn, "SELECT reason FROM projection_dead_letters") == [
        ("UnsupportedValue: details withheld: the event may contain personal data",)
    ]


class Closed(Projection):
    streams = (MESSAGING,)
    tables = "CREATE TABLE {closed} (id uuid PRIMARY KEY, text text)"

    @handles(MessageSent, rows=rows_of("conversations", Text, key=lambda event: {"id": event.aggregate_id}))
    def sent(self, event: Recorded[MessageSent], write: RowChanges, rows: list[Text]) -> None: ...


def test_the_tables_of_other_projections_are_closed() -> None:
    with pytest.raises(ValueError) as error:
        Closed.check()
    line = Closed.sent.__code__.co_firstlineno
    assert str(error.value) == (
        f"projection closed, sent in line {line}: it looks up conversations, which is not a table of this projection;"
        " those of others are closed, since they are at other positions"
    )


def test_a_lookup_needs_a_parameter() -> None:
    class Nameless(Projection):
        streams = (MESSAGING,)
        tables = "CREATE TABLE {nameless} (id uuid PRIMARY KEY, text text)"

        @handles(MessageSent, rows=rows_of("nameless", Text, key=lambda event: {"id": event.aggregate_id}))
        def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None: ...

    with pytest.raises(ValueError, match="it has no parameter rows for what it looks up"):
        Nameless.check()


async def test_a_looked_up_row_has_to_fit_its_table(conn: Connection) -> None:
    class Unfit(Projection):
        streams = (MESSAGING,)
        tables = "CREATE TABLE {unfit} (id uuid PRIMARY KEY, words text)"

        @handles(MessageSent, rows=rows_of("unfit", Text, key=lambda event: {"id": event.aggregate_id}))
        def sent(self, event: Recorded[MessageSent], write: RowChanges, rows: list[Text]) -> None: ...

    build = await start_build(conn, Unfit)
    with pytest.raises(BadTables, match=r"Text\.text is looked up in unfit, but not one of its columns"):
        await BuildWriter.open(conn, Unfit, build)
