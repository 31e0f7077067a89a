"""A retry that loses its connection or the event store reports what it has applied, and applies nothing twice."""

import asyncio
from itertools import count

import pytest
from nats.aio.client import Client
from psycopg import OperationalError

from contracts.errors import Unavailable
from projections.engine.dead_letters import resolution
from projections.engine.dead_letters.outcomes import Interrupted
from projections.engine.dead_letters.retry import retry_all, retry_behind
from projections.engine.storage.connections import connect
from streams.message import Message
from tests.fix_postgres import Pool
from tests.integration.projections.dead_letters.operator_actions import FixHandler, Operator, applied, texts
from tests.integration.projections.event_writer import Opened, Writer, conversation_ids
from tests.integration.projections.sample_projection import POISON, Letters


async def test_events_applied_before_the_connection_was_lost_are_reported(
    writer: Writer,
    run: Opened,
    pool: Pool,
    operator: Operator,
    fix_handler: FixHandler,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolution, "PAGE", 2)
    runners = await run(Letters)
    bad = conversation_ids(3)
    for conversation in bad:
        last = await writer.say(conversation, POISON, "b", "c")
    await applied(runners, last)
    fix_handler()
    heads = await resolution.first_failures(operator.conn, Letters)
    read, calls = operator.log.read, 0

    async def killing(subject: str, *, after: int, limit: int) -> list[Message]:
        nonlocal calls
        calls += 1
        # At the last page of the second.
        if calls == 4:
            async with pool.connection() as conn:
                await conn.execute("SELECT pg_terminate_backend(%s)", (operator.conn.info.backend_pid,))
        return await read(subject, after=after, limit=limit)

    monkeypatch.setattr(operator.log, "read", killing)
    first, second, third = await retry_all(operator.conn, operator.log, [(Letters, head) for head in heads])
    assert (first.outcome, first.applied, first.left) == ("applied", 3, 0)
    assert (second.outcome, second.applied, second.left) == ("refused", 2, 1)
    assert (third.outcome, third.applied, third.left) == ("refused", 0, 3)
    assert (third.reason or "").startswith("not tried: ")
    assert [await texts(pool, runners, conversation) for conversation in bad] == [[POISON, "b", "c"], [POISON, "b"], []]


async def test_a_discard_is_reported_also_where_the_events_behind_it_cannot_be_tried(
    writer: Writer, run: Opened, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    runners = await run(Letters)
    (bad,) = conversation_ids(1)
    await applied(runners, await writer.say(bad, POISON, "b", "c"))
    dead_letter = await operator.failed()
    await resolution.discard(operator.conn, operator.log, dead_letter, "it was a test", "an operator")

    async def silent(subject: str, *, after: int, limit: int) -> list[Message]:
        raise Unavailable("NATS does not answer.")

    monkeypatch.setattr(operator.log, "read", silent)
    retried = await retry_behind(operator.conn, operator.log, Letters, dead_letter)
    assert (retried.outcome, retried.applied, retried.left, retried.failed_id) == ("refused", 0, 2, None)
    assert retried.reason == "NATS does not answer."


def amid_pages(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """An event that is set when two pages are applied and the third is being read."""
    amid, read, pages = asyncio.Event(), operator.log.read, count(1)

    async def counted(subject: str, *, after: int, limit: int) -> list[Message]:
        if next(pages) == 3:
            amid.set()
        return await read(subject, after=after, limit=limit)

    monkeypatch.setattr(operator.log, "read", counted)
    return amid


async def test_retries_whose_connection_is_killed_apply_every_event_once(
    streams: Client,
    database_url: str,
    writer: Writer,
    run: Opened,
    pool: Pool,
    operator: Operator,
    fix_handler: FixHandler,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolution, "PAGE", 10)
    runners = await run(Letters)
    (bad,) = conversation_ids(1)
    await applied(runners, await writer.say(bad, POISON, *(f"text {number}" for number in range(300))))
    fix_handler()
    killed = 0
    while await operator.dead_letters():
        conn = await connect(database_url, "killed operator")
        to_be_killed = Operator(streams, conn, database_url)
        waiting = asyncio.create_task(amid_pages(to_be_killed, monkeypatch).wait())
        retrying = asyncio.create_task(to_be_killed.retry())
        await asyncio.wait([retrying, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        async with pool.connection() as admin:
            cursor = await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'killed operator'"
            )
            await cursor.fetchall()
        (outcome,) = await asyncio.gather(retrying, return_exceptions=True)
        killed += isinstance(outcome, OperationalError | Interrupted)
        await conn.close()
        # Whatever was left, the aggregate's first is the one that has failed.
        assert (await operator.states(bad))[:1] in (["failed"], [])
    assert killed > 0
    assert len(await texts(pool, runners, bad)) == 301
    assert (await operator.verify()).equal
