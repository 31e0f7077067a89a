"""Of two replicas one applies; the other goes on in its place, whatever becomes of it."""

import asyncio

import pytest
from nats.aio.client import Client

from contracts.positions import Position
from contracts.subjects import MESSAGING
from projections.engine import Runners
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.inspection.verify import verify
from projections.engine.rebuild.cutover import live_build
from projections.engine.storage import connections
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import Opened, Writer, conversation_ids
from tests.integration.projections.sample_projection import Letters
from tests.integration.projections.silent_proxy import SilentProxy


async def test_a_replica_of_which_nothing_is_heard_is_replaced_and_applies_nothing_later(
    streams: Client,
    writer: Writer,
    run: Opened,
    pool: Pool,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "_SILENCE_MS", 2_000)
    conversations = conversation_ids(3)
    async with SilentProxy(database_url) as proxy:
        silent = Runners([Letters], streams, pool, proxy.url)
        await silent.start()
        try:
            await silent.waiting.wait(Letters, Position.at(MESSAGING, await writer.fill(conversations, 20)), 60)
            other = await run(Letters)
            proxy.fall_silent()
            last = await writer.fill(conversations, 20)
            # Two seconds until the database gives it up, half a second until the other asks for the lock again.
            await other.waiting.wait(Letters, Position.at(MESSAGING, last), 60)
            proxy.speak_again()
            last = await writer.fill(conversations, 20)
            await other.waiting.wait(Letters, Position.at(MESSAGING, last), 60)
            assert (await verify(Letters, streams, database_url)).equal
        finally:
            proxy.speak_again()
            await silent.stop()


async def test_a_replica_that_hangs_is_replaced(
    streams: Client, writer: Writer, run: Opened, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_SILENCE_MS", 1_000)
    conn = await connections.connect(database_url, "hangs")
    try:
        assert await connections.try_lock(conn, connections.runner_lock(Letters))
        await connections.set_idle_timeouts(conn)
        runners = await run(Letters)
        last = await writer.fill(conversation_ids(1), 5)
        async with asyncio.timeout(60):
            while not runners.ready():
                await asyncio.sleep(0.01)
        await runners.waiting.wait(Letters, Position.at(MESSAGING, last), 60)
    finally:
        await conn.close()


async def test_a_replica_that_hangs_right_behind_a_batch_is_replaced(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_SILENCE_MS", 1_000)
    conversations = conversation_ids(1)
    before = Runners([Letters], streams, pool, database_url)
    await before.start()
    try:
        last = await writer.fill(conversations, 5)
        await before.waiting.wait(Letters, Position.at(MESSAGING, last), 60)
    finally:
        await before.stop()
    conn = await connections.connect(database_url, "hangs")
    try:
        assert await connections.try_lock(conn, connections.runner_lock(Letters))
        await connections.set_idle_timeouts(conn)
        build = await live_build(conn, Letters)
        assert build is not None
        # As if the next event were of no concern to this projection.
        await (await BuildWriter.open(conn, Letters, build)).apply(MESSAGING, [], last + 1)
        runners = await run(Letters)
        last = await writer.fill(conversations, 5)
        await runners.waiting.wait(Letters, Position.at(MESSAGING, last), 60)
    finally:
        await conn.close()


async def test_both_ends_give_up_what_stays_unacknowledged(database_url: str) -> None:
    conn = await connections.connect(database_url, "bounded")
    try:
        row = await (await conn.execute("SHOW tcp_user_timeout")).fetchone()
        assert row == ("10000",)
        assert conn.info.get_parameters()["tcp_user_timeout"] == "10000"
    finally:
        await conn.close()
