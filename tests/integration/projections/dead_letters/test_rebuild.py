"""Dead letters and discards while another build of the read model is filled."""

import asyncio

import pytest

from contracts import subjects
from contracts.subjects import MESSAGING
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.dead_letters import discards, resolution
from projections.engine.dead_letters.outcomes import AppliedElsewhere, BuildGone
from projections.engine.rebuild.cutover import start_build
from projections.engine.storage.builds import Connection
from projections.engine.storage.connections import connect
from tests.fix_postgres import Pool
from tests.integration.projections.dead_letters.operator_actions import FixHandler, Operator, applied
from tests.integration.projections.event_writer import Opened, Writer, conversation_ids
from tests.integration.projections.sample_projection import POISON, Letters


async def half_built(operator: Operator, conn: Connection, until: int) -> BuildWriter:
    """A build beside the live one that has come so far in the stream."""
    filling = await BuildWriter.open(conn, Letters, await start_build(conn, Letters))
    await go_on(operator, filling, until)
    return filling


async def go_on(operator: Operator, filling: BuildWriter, until: int) -> None:
    messages = await operator.log.read(subjects.all_of(MESSAGING))
    await filling.apply(MESSAGING, [message for message in messages if message.sequence <= until], until)


async def test_a_discard_reaches_a_build_that_has_not_come_to_the_event_yet(
    database_url: str, writer: Writer, run: Opened, operator: Operator, fix_handler: FixHandler
) -> None:
    runners = await run(Letters)
    fine, bad = conversation_ids(2)
    before = await writer.say(fine, "x", "y")
    last = await writer.say(bad, POISON, "b")
    await applied(runners, last)
    conn = await connect(database_url, "a rebuild")
    try:
        filling = await half_built(operator, conn, before)
        await operator.discard()
        fix_handler()
        await go_on(operator, filling, last)
    finally:
        await conn.close()
    await operator.rebuild()
    verdict = await operator.verify()
    assert (verdict.equal, verdict.build, verdict.discarded) == (True, filling.build.build, 1)


async def test_a_build_that_begins_in_the_middle_of_a_discard_knows_of_it(
    database_url: str,
    writer: Writer,
    run: Opened,
    pool: Pool,
    operator: Operator,
    fix_handler: FixHandler,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runners = await run(Letters)
    last = await writer.say(conversation_ids(1)[0], POISON, "b")
    await applied(runners, last)
    fix_handler()
    hold = discards.hold
    conn = await connect(database_url, "a rebuild")
    building: list[asyncio.Task[BuildWriter]] = []

    async def slowly(*arguments: object) -> object:
        held = await hold(*arguments)  # type: ignore[arg-type]  # whatever it is given
        building.append(asyncio.create_task(half_built(operator, conn, last)))
        # Waits until the build is either added before the discard is done, or waits for the discard.
        async with asyncio.timeout(60):
            while not building[0].done() and not await is_waiting(pool):
                await asyncio.sleep(0.01)
        return held

    monkeypatch.setattr(discards, "hold", slowly)
    try:
        await operator.discard()
        await building[0]
    finally:
        await conn.close()
    await operator.rebuild()
    verdict = await operator.verify()
    assert (verdict.equal, verdict.build, verdict.discarded) == (True, 2, 1)


async def is_waiting(pool: Pool) -> bool:
    async with pool.connection() as conn:
        cursor = await conn.execute(
            "SELECT FROM pg_stat_activity WHERE application_name = 'a rebuild' AND wait_event_type = 'Lock'"
        )
        return cursor.rowcount == 1


async def test_an_event_that_a_build_has_applied_is_not_discarded(
    database_url: str, writer: Writer, run: Opened, operator: Operator, fix_handler: FixHandler
) -> None:
    runners = await run(Letters)
    last = await writer.say(conversation_ids(1)[0], POISON, "b")
    await applied(runners, last)
    fix_handler()
    conn = await connect(database_url, "a rebuild")
    try:
        await half_built(operator, conn, last)
        with pytest.raises(AppliedElsewhere):
            await operator.discard()
    finally:
        await conn.close()
    assert [dead_letter.state for dead_letter in await operator.dead_letters()] == ["failed", "parked"]
    await operator.rebuild()
    assert await operator.dead_letters() == []
    assert (await operator.verify()).equal


async def test_a_rebuild_begins_with_no_dead_letters_and_fails_again(
    writer: Writer, run: Opened, operator: Operator, fix_handler: FixHandler
) -> None:
    runners = await run(Letters)
    await applied(runners, await writer.say(conversation_ids(1)[0], POISON, "b"))
    before = await operator.failed()
    assert (await operator.rebuild()).dead_letters == 2
    after = await operator.failed()
    assert (after.build, after.sequence, after.waiting) == (before.build + 1, before.sequence, 1)
    with pytest.raises(BuildGone):
        await resolution.retryable_letter(operator.conn, before.id)
    with pytest.raises(BuildGone):
        await resolution.retry(operator.conn, operator.log, Letters, before)
    fix_handler()
    assert (await operator.rebuild()).dead_letters == 0
    assert await operator.dead_letters() == []
