"""Views, functions and triggers of a projection are created, switched and dropped with its builds."""

import importlib
import re
from pathlib import Path
from typing import ClassVar, cast

import pytest
from nats.aio.client import Client
from psycopg import errors

from contracts.envelope import Recorded, now
from contracts.events.message import MessageSent
from contracts.positions import Position
from contracts.subjects import MESSAGING
from projections.engine import Projection, RowChanges, handles
from projections.engine.inspection import as_of
from projections.engine.inspection.verify import verify
from projections.engine.rebuild.build_cleanup import drop_unused_builds
from projections.engine.rebuild.cutover import start_build
from projections.engine.rebuild.rebuild import rebuild
from projections.engine.storage.connections import connect
from projections.engine.storage.schema import ensure_schema
from projections.engine.storage.tables import BadTables
from tests.fix_postgres import Pool
from tests.fix_read_models import OpenReadModel
from tests.integration.projections.event_writer import PATIENCE, SENDER, Opened, Writer, conversation_ids, sent
from tests.integration.projections.stored_rows import fetched

HOWTO = Path(__file__).parents[3] / "docs" / "howto" / "add-a-read-model.md"

OBJECTS = """
SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'v') AND relname LIKE 'talks%' UNION ALL
SELECT proname::text || '()' FROM pg_proc WHERE proname LIKE 'talks%' ORDER BY 1
"""


class Talks(Projection):
    """Everything that a projection may create, each object used by another."""

    streams = (MESSAGING,)
    tables = """
        CREATE FUNCTION {shout}(said text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT upper(said) $$;
        CREATE TABLE {texts} (
            conversation_id uuid, sequence bigint, text text,
            loud text GENERATED ALWAYS AS ({shout}(text)) STORED,
            PRIMARY KEY (conversation_id, sequence)
        );
        -- Created after the table whose index uses it.
        CREATE FUNCTION {quiet}(said text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT lower(said) $$;
        CREATE INDEX ON {texts} ({quiet}(text));
        CREATE VIEW {longest} AS SELECT conversation_id, max(length(text)) AS length FROM {texts} GROUP BY 1;
        -- A count kept as a number.
        CREATE TABLE {counts} (conversation_id uuid PRIMARY KEY, messages bigint NOT NULL);
        CREATE FUNCTION {count}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO {counts} AS c SELECT conversation_id, count(*) FROM added GROUP BY 1
            ON CONFLICT (conversation_id) DO UPDATE SET messages = c.messages + EXCLUDED.messages;
            RETURN NULL;
        END $$;
        CREATE TRIGGER count AFTER INSERT ON {texts} REFERENCING NEW TABLE AS added
            FOR EACH STATEMENT EXECUTE FUNCTION {count}();
        CREATE FUNCTION {of_conversation}(which uuid) RETURNS SETOF {texts} LANGUAGE sql STABLE
            AS $$ SELECT * FROM {texts} WHERE conversation_id = which $$;
    """

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        key = {"conversation_id": event.aggregate_id, "sequence": event.data.sequence}
        write.insert("texts", key=key, set={"text": event.data.text})


async def test_they_are_switched_and_dropped_with_the_builds(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Talks)
    one, other = conversation_ids(2)
    await writer.say(one, "a", "long")
    last = await writer.say(other, "b")
    await runners.waiting.wait(Talks, Position.at(MESSAGING, last), PATIENCE)
    shown = {
        f"SELECT messages FROM talks_counts_v1 WHERE conversation_id = '{one}'": [(2,)],
        f"SELECT length FROM talks_longest_v1 WHERE conversation_id = '{one}'": [(4,)],
        f"SELECT loud FROM talks_of_conversation_v1('{one}')": [("A",), ("LONG",)],
        "SELECT talks_quiet_v1('SHH')": [("shh",)],
    }
    for query, rows in shown.items():
        assert await fetched(pool, query) == rows, query
    assert (await verify(Talks, streams, database_url)).equal
    for _ in range(3):
        await rebuild(Talks, streams, database_url)
    for query, rows in shown.items():
        assert await fetched(pool, query) == rows, query
    builds = {str(name).rstrip("()").rpartition("_")[2] for (name,) in await fetched(pool, OBJECTS)}
    assert builds == {"v1", "b3", "b4"}
    assert (await verify(Talks, streams, database_url)).equal
    await runners.stop()
    # As if its file had been removed.
    await drop_unused_builds(Talks.name, None, database_url)
    assert await fetched(pool, OBJECTS) == []


async def test_they_show_the_past_in_a_schema_of_their_own(
    streams: Client, writer: Writer, pool: Pool, database_url: str
) -> None:
    (conversation,) = conversation_ids(1)
    for text in ("a", "long"):
        await writer.say(conversation, text)
        async with as_of.opened(streams, database_url, "then", now(), replace=True) as state:
            await state.build(Talks)
            await state.publish()
    assert await fetched(pool, 'SELECT messages FROM "then".counts') == [(2,)]
    assert await fetched(pool, 'SELECT length FROM "then".longest') == [(4,)]
    assert await fetched(pool, f"SELECT loud FROM \"then\".of_conversation('{conversation}')") == [("A",), ("LONG",)]
    assert await fetched(pool, OBJECTS) == []


class Curious(Projection):
    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {curious} (id uuid PRIMARY KEY);
        CREATE VIEW {peek} AS SELECT * FROM projection_builds;
    """


class Mistaken(Projection):
    streams = (MESSAGING,)
    tables: ClassVar[str] = """
        CREATE TABLE {mistaken} (id uuid PRIMARY KEY);
        CREATE VIEW {wrong} AS SELECT name FROM {mistaken};
    """


@pytest.mark.parametrize(
    ("projection", "reason"),
    [
        (Curious, r"projection curious, line \d+: the view {peek} reads projection_builds"),
        (Mistaken, r'projection mistaken, line \d+: column "name" does not exist'),
    ],
)
async def test_an_error_of_the_database_names_projection_and_line(
    database_url: str, projection: type[Projection], reason: str
) -> None:
    conn = await connect(database_url, "test")
    async with conn:
        await ensure_schema(conn)
        with pytest.raises(BadTables, match=reason):
            await start_build(conn, projection)


async def test_what_readers_call_changes_nothing(
    streams: Client, writer: Writer, run: Opened, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sly = "CREATE FUNCTION {sly}() RETURNS void LANGUAGE sql STABLE AS $$ DELETE FROM {texts} $$;"
    monkeypatch.setattr(Talks, "tables", Talks.tables + sly)
    (conversation,) = conversation_ids(1)
    last = await writer.say(conversation, "a")
    runners = await run(Talks)
    await runners.waiting.wait(Talks, Position.at(MESSAGING, last), PATIENCE)
    with pytest.raises(errors.FeatureNotSupported, match="not allowed in a non-volatile function"):
        await fetched(pool, "SELECT talks_sly_v1()")


@pytest.fixture
def documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Projection]:
    """The projection of the how-to, with the views and functions that it shows."""
    text = HOWTO.read_text("utf-8")
    (source,) = re.findall(r"^```python\n# projections/talkativeness.py\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (more,) = re.findall(r"^```sql\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (tmp_path / "talkativeness.py").write_text(source, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    projection = cast(type[Projection], importlib.import_module("talkativeness").Talkativeness)
    projection.tables += more
    return projection


async def test_those_of_the_how_to_work(read_model: OpenReadModel, documented: type[Projection]) -> None:
    documented.check()
    model = await read_model(documented)
    await model.given(*[sent("Hi", number) for number in range(101)], at="2026-01-31T12:00:00Z")
    assert await model.rows("SELECT user_id FROM {busiest}") == [(SENDER,)]
    later = "SELECT messages FROM {since}('2026-01-31T12:%s:00Z')"
    assert await model.rows(later % "01") == [(101,)]
    assert await model.rows(later % "02") == []
