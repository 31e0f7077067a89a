"""Read models as they were at a moment, beside the live ones, which never notice."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import Provenance, now, seal
from contracts.events.session import SessionCreated
from contracts.positions import Position
from contracts.subjects import MESSAGING
from contracts.values.ids import new_id
from infra.embedded.nats_server import NatsServer
from projections.analytics import Analytics
from projections.engine.inspection.as_of import BadSchema, Built, NothingHappened, opened
from projections.engine.inspection.verify import verify
from projections.engine.projection import Projection
from projections.engine.rebuild.progress import Progress
from streams.log import Append, Log
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import PATIENCE, SENDER, Opened, Writer, conversation_ids, sent
from tests.integration.projections.sample_projection import POISON, Letters
from tests.integration.projections.stored_rows import fetched

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'then%' ORDER BY 1"
TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'then' ORDER BY 1"


async def built(
    nc: Client, database_url: str, moment: datetime, *projections: type[Projection], replace: bool = False
) -> list[Built]:
    async with opened(nc, database_url, "then", moment, replace=replace) as state:
        builds = [await state.build(projection) for projection in projections or (Letters,)]
        await state.publish()
    return builds


async def append_at(nc: Client, *moments: datetime) -> None:
    """Messages of one conversation whose envelopes name these times."""
    (conversation,) = conversation_ids(1)
    log, last = Log(nc), 0
    for index, at in enumerate(moments, start=1):
        envelope = seal(
            sent(f"text {index}", index), aggregate_id=conversation, version=index, provenance=Provenance(), at=at
        )
        last = await log.append(Append(subject=subjects.conversation(conversation), expected=last, envelope=envelope))


async def texts(pool: Pool) -> list[object]:
    return [text for (text,) in await fetched(pool, 'SELECT text FROM "then".texts ORDER BY sequence')]


async def test_what_was_stored_by_then_is_there_and_the_live_build_is_untouched(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    (conversation,) = conversation_ids(1)
    await writer.say(conversation, "a", "b")
    moment = now()
    while now() == moment:
        await asyncio.sleep(0)
    last = await writer.say(conversation, "c")
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    before = await fetched(pool, "SELECT build, state, identity FROM projection_builds")
    (build,) = await built(streams, database_url, moment)
    assert build.position == {MESSAGING: last - 1}
    assert (build.events, build.tables, build.dead_letters) == (2, {"letters": 1, "texts": 2}, 0)
    assert await texts(pool) == ["a", "b"]
    assert await fetched(pool, TABLES) == [("dead_letters",), ("letters",), ("texts",)]
    assert await fetched(pool, SCHEMAS) == [("then",)]
    comment = await fetched(pool, "SELECT obj_description('\"then\"'::regnamespace, 'pg_namespace')")
    assert "letters version 1" in str(comment[0][0])
    assert await fetched(pool, "SELECT build, state, identity FROM projection_builds") == before
    assert (await verify(Letters, streams, database_url)).equal


async def test_an_event_of_exactly_then_is_included_also_after_an_import(
    streams: Client, pool: Pool, database_url: str
) -> None:
    await append_at(streams, NOON - MILLISECOND, NOON, NOON + MILLISECOND)
    await built(streams, database_url, NOON)
    assert await texts(pool) == ["text 1", "text 2"]


async def test_an_event_that_stands_behind_a_later_one_is_not_there_before_it(
    streams: Client, pool: Pool, database_url: str
) -> None:
    await append_at(streams, NOON, NOON + 2 * MILLISECOND, NOON + MILLISECOND)
    await built(streams, database_url, NOON + MILLISECOND)
    assert await texts(pool) == ["text 1"]


async def test_a_clock_that_is_years_ahead_hides_nothing(streams: Client, pool: Pool, database_url: str) -> None:
    await append_at(streams, NOON, now() + timedelta(days=1_000), NOON)
    await built(streams, database_url, now() + timedelta(seconds=1))
    assert await texts(pool) == ["text 1", "text 2", "text 3"]


async def test_every_stream_of_a_projection_is_read_up_to_the_moment(
    streams: Client, pool: Pool, database_url: str
) -> None:
    await append_at(streams, NOON - MILLISECOND, NOON + MILLISECOND)
    log = Log(streams)
    login = SessionCreated(
        user_id=SENDER, username="ada", device="", address="::1", expires_at=datetime(2027, 1, 1, tzinfo=UTC)
    )
    for session, at in ((new_id(), NOON), (new_id(), NOON + MILLISECOND)):
        envelope = seal(login, aggregate_id=session, version=1, provenance=Provenance(), at=at)
        await log.append(Append(subject=subjects.session(session), expected=0, envelope=envelope))
    await built(streams, database_url, NOON, Analytics, Letters)
    counted = 'SELECT sum(messages)::int, sum(logins)::int FROM "then".analytics'
    assert await fetched(pool, counted) == [(1, 1)]
    assert await texts(pool) == ["text 1"]


async def test_events_that_cannot_be_applied_are_named(
    streams: Client, writer: Writer, pool: Pool, database_url: str
) -> None:
    (conversation,) = conversation_ids(1)
    await writer.say(conversation, "a", POISON, "b")
    (build,) = await built(streams, database_url, now())
    assert (build.events, build.dead_letters) == (3, 2)
    assert await fetched(pool, 'SELECT sequence, state FROM "then".dead_letters') == [(2, "failed"), (3, "parked")]


async def test_only_its_own_schema_is_replaced_and_only_on_request(
    streams: Client, pool: Pool, database_url: str
) -> None:
    await append_at(streams, NOON, NOON + MILLISECOND)
    await built(streams, database_url, NOON)
    with pytest.raises(BadSchema, match="use --replace"):
        await built(streams, database_url, NOON + MILLISECOND)
    assert await texts(pool) == ["text 1"]
    await built(streams, database_url, NOON + MILLISECOND, replace=True)
    assert await texts(pool) == ["text 1", "text 2"]
    await fetched_nothing(pool, 'CREATE VIEW report AS SELECT * FROM "then".texts')
    with pytest.raises(BadSchema, match="depend on the schema"):
        await built(streams, database_url, NOON, replace=True)
    assert await texts(pool) == ["text 1", "text 2"]
    assert await fetched(pool, SCHEMAS) == [("then",)]


async def fetched_nothing(pool: Pool, statement: str) -> None:
    async with pool.connection() as conn:
        await conn.execute(statement.encode())


async def test_a_foreign_schema_is_left_alone(streams: Client, pool: Pool, database_url: str) -> None:
    await append_at(streams, NOON)
    await fetched_nothing(pool, 'CREATE SCHEMA "then" CREATE TABLE precious (id int)')
    for replace in (False, True):
        with pytest.raises(BadSchema, match="has other contents"):
            await built(streams, database_url, NOON, replace=replace)
    assert await fetched(pool, TABLES) == [("precious",)]
    await fetched_nothing(pool, 'DROP TABLE "then".precious')
    await fetched_nothing(pool, 'CREATE FUNCTION "then".precious() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$')
    for replace in (False, True):
        with pytest.raises(BadSchema, match="has other contents"):
            await built(streams, database_url, NOON, replace=replace)
    # An empty one, made so that others may read it, is used as it is.
    await fetched_nothing(pool, 'DROP FUNCTION "then".precious()')
    await built(streams, database_url, NOON)
    assert await texts(pool) == ["text 1"]


@pytest.mark.parametrize("name", ["public", "pg_then", "Then", "a b", 'a"; DROP TABLE b', "", "a" * 49])
async def test_names_that_are_none_are_refused(streams: Client, database_url: str, name: str) -> None:
    await append_at(streams, NOON)
    async with opened(streams, database_url, "other", NOON) as state:
        await state.build(Letters)
        await state.publish()
    with pytest.raises(BadSchema):
        async with opened(streams, database_url, name, NOON, replace=True):
            pass


async def test_before_the_first_event_there_is_nothing_to_look_at(
    streams: Client, pool: Pool, database_url: str
) -> None:
    await append_at(streams, NOON)
    with pytest.raises(NothingHappened, match="there were no events until 2026-01-31T11:59:59"):
        await built(streams, database_url, NOON - MILLISECOND)
    assert await fetched(pool, SCHEMAS) == []


async def test_what_is_interrupted_looks_like_nothing(
    streams: Client, writer: Writer, pool: Pool, database_url: str
) -> None:
    await writer.fill(conversation_ids(4), 500)
    seen: list[list[tuple[object, ...]]] = []

    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    async def interrupted() -> None:
        async with opened(streams, database_url, "then", now()) as state:
            seen.append(await fetched(pool, SCHEMAS))
            await state.build(Letters, stop)

    with pytest.raises(KeyboardInterrupt):
        await interrupted()
    assert seen == [[("then_unfinished",)]]
    assert await fetched(pool, SCHEMAS) == []


async def test_what_a_killed_call_has_left_is_removed_by_the_next(
    streams: Client, pool: Pool, database_url: str
) -> None:
    await append_at(streams, NOON)
    for name in ("then", "then_other"):
        await fetched_nothing(pool, f"CREATE SCHEMA {name}_unfinished CREATE TABLE half (id int)")
        await fetched_nothing(pool, f"COMMENT ON SCHEMA {name}_unfinished IS 'Vestnik, unfinished'")
    await built(streams, database_url, NOON)
    assert await fetched(pool, SCHEMAS) == [("then",)]


async def test_two_calls_for_one_schema_exclude_each_other(streams: Client, pool: Pool, database_url: str) -> None:
    await append_at(streams, NOON)
    async with opened(streams, database_url, "then", NOON) as state:
        with pytest.raises(BadSchema, match="by another call"):
            await built(streams, database_url, NOON)
        await state.build(Letters)
        await state.publish()
    assert await texts(pool) == ["text 1"]


async def test_the_command_tells_what_it_has_built_or_why_not(
    nats_server: NatsServer, streams: Client, pool: Pool, database_url: str, tmp_path: Path
) -> None:
    await append_at(streams, NOON, NOON + MILLISECOND)
    own = {"VESTNIK_NATS_URL": nats_server.url, "VESTNIK_DATABASE_URL": database_url, "VESTNIK_DATA_DIR": str(tmp_path)}

    async def command() -> tuple[int, str, str]:
        arguments = ("rebuild", "conversations", "--as-of", "2026-01-31T12:00:00Z", "--into", "then", "--json")
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "infra.cli.main", *arguments],
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    code, printed, said = await command()
    assert code == 0, said
    (state,) = json.loads(printed)["built"]
    assert (state["as_of"], state["schema"], state["tables"]["messages"]) == ("2026-01-31T12:00:00.000Z", "then", 1)
    assert await fetched(pool, 'SELECT count(*) FROM "then".messages') == [(1,)]
    code, printed, said = await command()
    assert (code, printed, len(said.splitlines())) == (1, "", 1)
    assert "--replace" in said
