"""A discard is an event of its stream: it counts after an interruption, and on a new database."""

import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import now
from contracts.errors import Unavailable
from projections.engine.dead_letters import discards, queries, resolution
from projections.engine.dead_letters.discards import Discarded
from projections.engine.dead_letters.outcomes import AlreadyDiscarded
from projections.engine.dead_letters.queries import DeadLetterFilter
from tests.fix_postgres import Pool
from tests.integration.projections.dead_letters.operator_actions import FixHandler, Operator, applied, texts
from tests.integration.projections.event_writer import Opened, Writer, conversation_ids, until_ready
from tests.integration.projections.sample_projection import POISON, Letters


async def test_a_discarded_event_is_left_out_by_rebuilds_and_verifications_also_after_the_fix(
    writer: Writer, run: Opened, pool: Pool, operator: Operator, fix_handler: FixHandler
) -> None:
    runners = await run(Letters)
    (bad,) = conversation_ids(1)
    await applied(runners, await writer.say(bad, "a", POISON, "b"))
    dead_letter = await operator.discard()
    assert await operator.dead_letters() == []
    await applied(runners, await writer.say(bad, "c"))
    assert await texts(pool, runners, bad) == ["a", "b", "c"]
    fix_handler()
    verdict = await operator.verify()
    assert (verdict.equal, verdict.discarded) == (True, 1)
    await operator.rebuild()
    assert await texts(pool, runners, bad) == ["a", "b", "c"]
    assert (await operator.verify()).equal
    kept = await queries.get_dead_letter(operator.conn, dead_letter.id)
    assert isinstance(kept, Discarded)
    assert (kept.reason, kept.discarded_by, kept.error) == ("it was a test", "an operator", dead_letter.reason)
    with pytest.raises(AlreadyDiscarded):
        await resolution.retryable_letter(operator.conn, dead_letter.id)


async def test_a_discard_survives_the_database_on_which_it_was_made(
    streams: Client,
    database_url: str,
    writer: Writer,
    run: Opened,
    pool: Pool,
    operator: Operator,
    fix_handler: FixHandler,
) -> None:
    first = await run(Letters)
    (bad,) = conversation_ids(1)
    last = await writer.say(bad, "a", POISON, "b")
    await applied(first, last)
    discarded = (await operator.discard()).id
    await first.stop()
    async with pool.connection() as conn:
        await conn.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    fix_handler()
    second = await run(Letters)
    await applied(second, last)
    await until_ready(second)
    assert await texts(pool, second, bad) == ["a", "b"]
    verdict = await operator.verify()
    assert (verdict.equal, verdict.discarded) == (True, 1)
    await operator.rebuild()
    assert (await operator.verify()).equal
    (kept,) = await queries.discarded(streams, DeadLetterFilter(projections=["letters"], aggregate_id=bad))
    assert (kept.id, kept.reason, kept.discarded_by) == (discarded, "it was a test", "an operator")
    assert await queries.discarded(streams, DeadLetterFilter(projections=["conversations"])) == []


async def interrupted(operator: Operator) -> Discarded:
    """A discard of the failed event that is only in the stream, not in the table."""
    dead_letter = await operator.failed()
    discard = Discarded(
        projection=dead_letter.projection,
        version=dead_letter.version,
        build=dead_letter.build,
        stream=dead_letter.stream,
        sequence=dead_letter.sequence,
        subject=dead_letter.subject,
        type=dead_letter.type,
        error=dead_letter.reason,
        reason="it was a test",
        discarded_by="an operator",
        discarded_at=now(),
    )
    await discards.append(operator.log, discard, "operator:an operator")
    return discard


async def test_a_discard_that_was_interrupted_counts_and_is_done_by_the_next_start(
    writer: Writer, run: Opened, pool: Pool, operator: Operator, fix_handler: FixHandler
) -> None:
    first = await run(Letters)
    (bad,) = conversation_ids(1)
    last = await writer.say(bad, "a", POISON, "b")
    await applied(first, last)
    await interrupted(operator)
    fix_handler()
    # Although it could be applied now.
    with pytest.raises(AlreadyDiscarded):
        await operator.retry()
    with pytest.raises(AlreadyDiscarded):
        await operator.discard()
    assert await operator.states(bad) == ["failed", "parked"]
    await first.stop()
    second = await run(Letters)
    await until_ready(second)
    assert await operator.states(bad) == ["failed"]
    (retried,) = await operator.retry()
    assert (retried.outcome, retried.applied) == ("applied", 1)
    assert await texts(pool, second, bad) == ["a", "b"]
    verdict = await operator.verify()
    assert (verdict.equal, verdict.discarded) == (True, 1)


async def test_a_live_read_model_hears_at_once_of_a_discard_that_another_process_finishes(
    streams: Client, writer: Writer, run: Opened, pool: Pool, operator: Operator
) -> None:
    runners = await run(Letters)
    (bad,) = conversation_ids(1)
    await applied(runners, await writer.say(bad, "a", POISON))
    await interrupted(operator)
    await discards.catch_up(operator.conn, streams, Letters.name)
    await applied(runners, await writer.say(bad, "b"))
    assert await texts(pool, runners, bad) == ["a", "b"]
    assert (await operator.verify()).equal


async def test_what_the_stream_does_not_take_is_not_discarded(
    writer: Writer, run: Opened, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    runners = await run(Letters)
    (bad,) = conversation_ids(1)
    await applied(runners, await writer.say(bad, "a", POISON, "b"))

    async def away(append: object) -> int:
        raise Unavailable

    with monkeypatch.context() as patched:
        patched.setattr(operator.log, "append", away)
        with pytest.raises(Unavailable):
            await operator.discard()
    assert await operator.states(bad) == ["failed", "parked"]
    verdict = await operator.verify()
    assert (verdict.equal, verdict.discarded, verdict.dead_letters) == (True, 0, 2)


async def test_a_discard_that_the_database_alone_names_is_none(writer: Writer, run: Opened, operator: Operator) -> None:
    runners = await run(Letters)
    (bad,) = conversation_ids(1)
    await applied(runners, await writer.say(bad, "a", POISON, "b"))
    await operator.discard()
    await operator.conn.execute("UPDATE projection_discards SET sequence = 1")
    verdict = await operator.verify()
    assert (verdict.equal, verdict.discarded) == (True, 1)


async def test_an_event_that_is_no_event_waits_and_is_discarded(
    streams: Client, writer: Writer, run: Opened, pool: Pool, operator: Operator
) -> None:
    runners = await run(Letters)
    (bad,) = conversation_ids(1)
    await writer.say(bad, "a")
    garbage = await streams.jetstream().publish(subjects.conversation(bad), b"\x00 no event")
    writer.moved(subjects.conversation(bad), garbage.seq)
    await applied(runners, await writer.say(bad, "b"))
    dead_letter = await operator.discard()
    assert (dead_letter.type, dead_letter.waiting) == ("?", 1)
    assert await texts(pool, runners, bad) == ["a", "b"]
    assert (await operator.verify()).equal
