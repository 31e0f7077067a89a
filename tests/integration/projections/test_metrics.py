"""A runner's metrics show its progress and which process leads."""

import asyncio
from datetime import timedelta

import pytest
from nats.aio.client import Client
from prometheus_client import REGISTRY

from contracts.positions import Position
from contracts.subjects import MESSAGING
from projections.engine import Projection
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.dead_letters import resolution
from projections.engine.running.last_errors import LastError, record_error
from projections.engine.storage.connections import connect
from streams.log import Log
from tests.conditions import until
from tests.fix_postgres import Pool
from tests.integration.projections import sample_projection
from tests.integration.projections.event_writer import Opened, Writer, conversation_ids
from tests.integration.projections.sample_projection import POISON, Letters

KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'projection letters'"


def value(name: str, projection: type[Projection] = Letters, **labels: str) -> float | None:
    own = {"projection": projection.name, "version": str(projection.version), **labels}
    return REGISTRY.get_sample_value(f"vestnik_projection_{name}", own)


async def test_what_was_applied_is_counted_and_nothing_is_behind(writer: Writer, run: Opened) -> None:
    before = value("events_applied_total") or 0.0
    batches = value("batch_duration_seconds_count") or 0.0
    last = await writer.fill(conversation_ids(3), 40)
    runners = await run(Letters)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), 60)
    await until(lambda: value("events_applied_total") == before + 120)
    assert value("leading") == 1
    assert value("lag_events", stream=MESSAGING) == 0
    assert value("lag_seconds", stream=MESSAGING) == 0
    assert (value("batch_duration_seconds_count") or 0.0) > batches
    assert (value("last_checkpoint_timestamp_seconds") or 0.0) > 0
    await until(lambda: value("build_progress_ratio") is None)
    await runners.stop()
    assert value("leading") == 0


async def test_the_lag_grows_while_a_batch_cannot_be_applied(
    writer: Writer, run: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    runners = await run(Letters)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, await writer.say(conversation_ids(1)[0], "a")), 60)
    held = asyncio.Event()
    commit = BuildWriter._commit

    async def slowly(*arguments: object) -> None:
        await held.wait()
        await commit(*arguments)  # type: ignore[arg-type]  # whatever it is given

    monkeypatch.setattr(BuildWriter, "_commit", slowly)
    last = await writer.say(conversation_ids(1)[0], "b")
    await until(lambda: (value("lag_seconds", stream=MESSAGING) or 0.0) > 0.2)
    first = value("lag_seconds", stream=MESSAGING) or 0.0
    await until(lambda: (value("lag_seconds", stream=MESSAGING) or 0.0) > first)
    assert value("lag_events", stream=MESSAGING) == 1
    held.set()
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), 60)
    await until(lambda: value("lag_seconds", stream=MESSAGING) == 0)
    assert value("lag_events", stream=MESSAGING) == 0


async def test_dead_letters_are_counted_until_they_are_settled_elsewhere(
    streams: Client, database_url: str, writer: Writer, run: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    runners = await run(Letters)
    last = await writer.say(conversation_ids(1)[0], POISON, "b", "c")
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), 60)
    await until(lambda: value("dead_letters", state="failed") == 1 and value("dead_letters", state="parked") == 2)
    monkeypatch.setattr(sample_projection, "POISON", "no message says this")
    conn = await connect(database_url, "operator")
    try:
        (dead_letter,) = await resolution.first_failures(conn, Letters)
        await resolution.retry(conn, Log(streams), Letters, dead_letter)
    finally:
        await conn.close()
    # Nothing happens in the stream: the runner hears of it all the same.
    await until(lambda: value("dead_letters", state="failed") == 0 and value("dead_letters", state="parked") == 0)


async def test_an_error_is_counted_and_its_text_is_kept(writer: Writer, run: Opened, pool: Pool) -> None:
    runners = await run(Letters)
    conversation = conversation_ids(1)[0]
    await runners.waiting.wait(Letters, Position.at(MESSAGING, await writer.say(conversation, "a")), 60)
    before = value("errors_total") or 0.0
    async with pool.connection() as conn:
        await conn.execute(KILL)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, await writer.say(conversation, "b")), 60)
    await until(lambda: (value("errors_total") or 0.0) > before)
    async with pool.connection() as conn:
        cursor = await conn.execute("SELECT projection, version, error FROM projection_errors")
        ((name, version, error),) = await cursor.fetchall()
    assert (name, version) == ("letters", 1)
    assert error
    assert "\n" not in error


async def test_an_older_error_does_not_take_the_place_of_a_newer_one(run: Opened, database_url: str) -> None:
    await until((await run(Letters)).ready)
    conn = await connect(database_url, "test")
    try:
        older, newer = LastError.now(ValueError("older")), LastError.now(ValueError("newer"))
        # A clock was set back since.
        future = LastError(newer.at + timedelta(hours=1), "ValueError: future")
        for error in (future, newer, older):
            await record_error(conn, "letters", 1, error)
        cursor = await conn.execute("SELECT error FROM projection_errors")
        assert await cursor.fetchall() == [("ValueError: newer",)]
    finally:
        await conn.close()
