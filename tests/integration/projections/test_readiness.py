"""A process is ready once its version has caught up, whichever process applies it."""

import asyncio

from contracts.positions import Position
from contracts.subjects import MESSAGING
from projections.analytics import Analytics
from projections.engine.storage.connections import connect, runner_lock, try_lock
from tests.integration.projections.event_writer import Opened, Writer, conversation_ids, until_ready
from tests.integration.projections.sample_projection import Letters


async def test_a_replica_that_stands_by_is_not_ready_while_the_build_is_behind(
    writer: Writer, run: Opened, database_url: str
) -> None:
    first = await run(Letters)
    last = await writer.fill(conversation_ids(2), 100)
    await first.waiting.wait(Letters, Position.at(MESSAGING, last), 60)
    await first.stop()
    # Another replica applies, and has got nowhere yet.
    leader = await connect(database_url, "another replica")
    try:
        assert await try_lock(leader, runner_lock(Letters))
        await writer.fill(conversation_ids(2), 100)
        second = await run(Letters)
        for _ in range(100):
            await asyncio.sleep(0.01)
            assert not second.ready()
    finally:
        await leader.close()
    await until_ready(second)


async def test_a_replica_that_stands_by_is_ready_when_the_build_is_there(
    writer: Writer, run: Opened, database_url: str
) -> None:
    await writer.fill(conversation_ids(2), 100)
    first = await run(Letters, Analytics)
    second = await run(Letters, Analytics)
    await until_ready(first)
    await until_ready(second)
