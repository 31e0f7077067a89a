"""A read model is compared with its streams; every row changed by hand is named, and the shadow goes."""

from contextlib import suppress

import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.positions import Position
from contracts.subjects import MESSAGING
from projections.engine import Runners
from projections.engine.comparison import Difference, Kind
from projections.engine.verify import NotBuilt, verify
from tests.fix_postgres import Pool
from tests.integration.projections.letters import Letters
from tests.integration.projections.writing import Opened, Writer, conversation_ids, seen

SHADOWS = "SELECT count(*) FROM projection_builds WHERE state = 'shadow'"
SHADOW_TABLES = "SELECT count(*) FROM pg_class WHERE relname LIKE 'letters%_b2' AND relkind = 'r'"


async def caught_up(runners: Runners, last: int) -> None:
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), 10)


async def test_an_untouched_read_model_is_equal_while_others_write(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    conversations = conversation_ids(5)
    last = await writer.fill(conversations, 40)
    last = await writer.append(subjects.read_mark(conversations[0], "x"), seen(conversations[0], 2))
    await caught_up(runners, last)
    verdict = await verify(Letters, streams, database_url)
    assert verdict.equal
    assert verdict.differences == []
    assert (verdict.position, verdict.events, verdict.rows) == ({MESSAGING: last}, 201, 205)
    async with pool.connection() as conn:
        assert await (await conn.execute(SHADOWS)).fetchone() == (0,)
        assert await (await conn.execute(SHADOW_TABLES)).fetchone() == (0,)


async def test_rows_changed_added_and_deleted_by_hand_are_named(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    one, other = conversation_ids(2)
    await caught_up(runners, await writer.fill([one, other], 3))
    added = conversation_ids(1)[0]
    async with pool.connection() as conn:
        await conn.execute("UPDATE letters_v1 SET messages = 4 WHERE conversation_id = %s", (one,))
        await conn.execute("INSERT INTO letters_v1 (conversation_id, messages) VALUES (%s, 7)", (added,))
        await conn.execute("DELETE FROM letters_texts_v1 WHERE conversation_id = %s AND sequence = 2", (other,))
    verdict = await verify(Letters, streams, database_url)
    assert not verdict.equal
    assert (verdict.changed, verdict.extra, verdict.missing) == (1, 1, 1)
    assert sorted(verdict.differences, key=lambda difference: difference.kind) == [
        Difference("letters", Kind.CHANGED, {"conversation_id": one}, {"messages": ("4", "3")}),
        Difference(
            "letters",
            Kind.EXTRA,
            {"conversation_id": added},
            {
                "messages": ("7", None),
                "last_text": (None, None),
                "last_sequence": (None, None),
                "seen": (None, None),
            },
        ),
        Difference("texts", Kind.MISSING, {"conversation_id": other, "sequence": "2"}, {"text": (None, "text 1")}),
    ]
    async with pool.connection() as conn:
        assert await (await conn.execute(SHADOWS)).fetchone() == (0,)


async def test_differences_are_named_up_to_a_limit_and_all_counted(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    await caught_up(runners, await writer.fill(conversation_ids(1), 100))
    async with pool.connection() as conn:
        await conn.execute("UPDATE letters_texts_v1 SET text = text || '!'")
    verdict = await verify(Letters, streams, database_url)
    assert verdict.changed == 100
    assert len(verdict.differences) == 20


async def test_a_projection_that_was_never_built_cannot_be_verified(streams: Client, database_url: str) -> None:
    with pytest.raises(NotBuilt):
        await verify(Letters, streams, database_url)


async def test_a_verification_that_is_stopped_leaves_no_shadow_to_the_next(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    await caught_up(runners, await writer.fill(conversation_ids(3), 20))

    def stop(progress: object) -> None:
        raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        await verify(Letters, streams, database_url, stop)
    assert (await verify(Letters, streams, database_url)).equal
    async with pool.connection() as conn:
        assert await (await conn.execute(SHADOWS)).fetchone() == (0,)
