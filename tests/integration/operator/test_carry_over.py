"""Discards of an older release, which are in the database alone, come into the stream once."""

import asyncio
from datetime import UTC, datetime, timedelta

from nats.aio.client import Client

from contracts.subjects import OPERATOR
from projections.engine.dead_letters import discards
from projections.engine.dead_letters.discards import Discarded
from projections.engine.storage.connections import connect
from projections.engine.storage.schema import ensure_schema
from services.operator.dead_letters.carry_over import carry_over
from streams.jetstream.api import JetStream
from streams.log import Log

BEFORE = datetime(2026, 1, 31, 12, 0, 0, 123000, tzinfo=UTC)


def discarded(sequence: int, at: datetime) -> Discarded:
    return Discarded(
        projection="friends",
        version=1,
        build=2,
        stream="CONTACT",
        sequence=sequence,
        subject="vestnik.contact.friendship.p",
        type="friendship.created",
        error="ValueError: what",
        reason="it was a test",
        discarded_by="an operator",
        discarded_at=at,
    )


async def test_what_the_tables_have_from_before_the_stream_is_carried_over_once_as_it_was(
    streams: Client, database_url: str
) -> None:
    made = (await JetStream(streams).info(OPERATOR)).created_at
    first, second = discarded(7, BEFORE), discarded(8, BEFORE + timedelta(seconds=1))
    conn = await connect(database_url, "a test")
    try:
        await ensure_schema(conn)
        for each in (first, second, discarded(9, made + timedelta(seconds=1))):
            await discards.keep(conn, each)
    finally:
        await conn.close()
    # As two processes do that start at the same moment.
    await asyncio.gather(*(carry_over(streams, Log(streams), database_url) for _ in range(2)))
    await carry_over(streams, Log(streams), database_url)
    assert sorted(await discards.recorded(streams), key=lambda each: each.sequence) == [first, second]
    assert await Log(streams).end_of(OPERATOR) == 2
