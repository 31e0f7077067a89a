"""A process is ready once its version has caught up, whichever process applies it."""

import asyncio
from typing import cast

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nats.aio.client import Client

from contracts.envelope import now
from contracts.positions import Position
from contracts.subjects import MESSAGING, conversation
from projections.analytics import Analytics
from projections.engine.reading.time_position import position_at
from projections.engine.running.backlog import backlog_after
from projections.engine.running.runner import Runner
from projections.engine.storage.builds import Connection
from projections.engine.storage.connections import connect, runner_lock, try_lock
from streams.personal_data import cipher
from streams.personal_data.reading import unseal_with
from streams.personal_data.unsealer import Unsealer
from tests.integration.projections.event_writer import PATIENCE, Opened, Writer, conversation_ids, sent, until_ready
from tests.integration.projections.sample_projection import Letters
from tests.integration.recorded_keys import LateKeys


async def append_sealed(writer: Writer, key: AESGCM, conversation_id: str, sequence: int) -> int:
    text = cast(str, cipher.seal(key, "k", "message.sent/text", "hidden"))
    return await writer.append(conversation(conversation_id), sent(text, sequence))


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


async def test_a_ready_standby_asks_for_little_more_than_the_lock(
    writer: Writer, run: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writer.fill(conversation_ids(2), 10)
    await until_ready(await run(Letters))
    asked: list[str] = []
    check = Runner._stand_by

    async def counted_lock(conn: Connection, name: str) -> bool:
        asked.append("lock")
        return await try_lock(conn, name)

    async def counted_check(self: Runner, conn: Connection) -> None:
        asked.append("all")
        await check(self, conn)

    monkeypatch.setattr("projections.engine.running.runner.try_lock", counted_lock)
    monkeypatch.setattr(Runner, "_stand_by", counted_check)
    await until_ready(await run(Letters))
    begin = len(asked)
    async with asyncio.timeout(PATIENCE):
        while "all lock lock" not in " ".join(asked[begin:]):
            await asyncio.sleep(0.01)


async def test_a_projection_that_waits_for_a_key_keeps_no_replica_from_being_ready(
    streams: Client, writer: Writer, run: Opened
) -> None:
    key, keys = AESGCM(cipher.new_key()), LateKeys()
    unseal_with(streams, Unsealer(keys))
    (conversation_id,) = conversation_ids(1)
    await writer.say(conversation_id, "plain")
    last = await append_sealed(writer, key, conversation_id, 2)
    first = await run(Letters, Analytics)
    second = await run(Letters, Analytics)
    await until_ready(first)
    await until_ready(second)
    keys.key = key
    await first.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    await until_ready(first)
    await until_ready(second)


async def test_what_is_counted_or_found_by_its_time_needs_no_key(streams: Client, writer: Writer) -> None:
    key = AESGCM(cipher.new_key())
    (conversation_id,) = conversation_ids(1)
    first = await writer.say(conversation_id, "plain")
    moment = now()
    while now() <= moment:
        await asyncio.sleep(0.001)
    await append_sealed(writer, key, conversation_id, 2)
    unseal_with(streams, Unsealer(LateKeys()))
    assert await position_at(streams, Letters, moment) == Position.at(MESSAGING, first)
    assert (await backlog_after(streams, Letters, Position()))[MESSAGING].events == 2
