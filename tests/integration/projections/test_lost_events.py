"""An event that the disk has lost is named by everyone who reads the stream, and no rebuild hides it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.events.user import UserCreated, UsernameClaimed
from contracts.positions import Position
from contracts.subjects import AUTH, MESSAGING
from contracts.values.ids import new_id
from infra.embedded.nats_server import NatsServer
from projections.engine import Projection
from projections.engine.inspection.verify import verify
from projections.engine.rebuild.progress import Progress
from projections.engine.rebuild.rebuild import rebuild
from projections.engine.storage.lost_events import EventsLost
from projections.engine.storage.schema import ensure_schema
from projections.friends import Friends
from streams.jetstream.api import JetStream
from streams.loss.missing_events import Gap, accept, accepted
from tests.damage import flip_a_byte
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import PATIENCE, Opened, Writer, conversation_ids, until_ready
from tests.integration.projections.sample_projection import Letters

LAST_ERROR = "SELECT error FROM projection_errors WHERE projection = %s"
LOST = "SELECT stream, first, last FROM projection_lost_events ORDER BY build, first"


async def damage(server: NatsServer, folder: Path, texts: Sequence[str]) -> None:
    """Restarts the server on files in which the messages with these texts are damaged."""
    await server.stop()
    for text in texts:
        flip_a_byte(folder, MESSAGING, text.encode())
    await server.start()


async def last_error(pool: Pool, projection: type[Projection]) -> str:
    """Waits for the runner's last error and returns it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            async with pool.connection() as conn:
                await ensure_schema(conn)
                row = await (await conn.execute(LAST_ERROR, (projection.name,))).fetchone()
            if row is not None:
                return str(row[0])
            await asyncio.sleep(0.05)


async def test_a_rebuild_names_what_is_lost_and_switches_only_when_that_is_accepted(
    nats_server: NatsServer,
    streams: Client,
    writer: Writer,
    run: Opened,
    pool: Pool,
    database_url: str,
    tmp_path: Path,
) -> None:
    runners = await run(Letters)
    (conversation,) = conversation_ids(1)
    last = await writer.say(conversation, *(f"text {number}" for number in range(100, 130)))
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    await damage(nats_server, tmp_path / "nats", ["text 107", "text 108", "text 120"])
    gaps = [Gap(MESSAGING, 8, 9), Gap(MESSAGING, 21, 21)]

    for _ in range(2):
        with pytest.raises(EventsLost, match=r"3 events are lost, MESSAGING:8-9, MESSAGING:21\."):
            await rebuild(Letters, streams, database_url)
    verdict = await verify(Letters, streams, database_url)
    assert (verdict.build, verdict.equal, verdict.lost) == (1, False, ["MESSAGING:8-9", "MESSAGING:21"])
    async with pool.connection() as conn:
        assert await (await conn.execute("SELECT count(*) FROM letters_texts_v1")).fetchone() == (30,)

    await accept(JetStream(streams), gaps[:1], "an operator")
    with pytest.raises(EventsLost, match=r"1 event is lost, MESSAGING:21\."):
        await rebuild(Letters, streams, database_url)
    await accept(JetStream(streams), gaps, "an operator")
    decisions = accepted((await JetStream(streams).info(MESSAGING)).config)
    assert [(decision.first, decision.last, decision.by) for decision in decisions] == [
        (8, 9, "an operator"),
        (21, 21, "an operator"),
    ]
    rebuilt = await rebuild(Letters, streams, database_url)
    assert (rebuilt.events, rebuilt.position) == (27, {MESSAGING: 30})
    verdict = await verify(Letters, streams, database_url)
    assert (verdict.equal, verdict.lost, verdict.lost_accepted) == (True, [], 3)


async def test_an_interruption_behind_the_loss_does_not_hide_it(
    nats_server: NatsServer, streams: Client, writer: Writer, pool: Pool, database_url: str, tmp_path: Path
) -> None:
    (conversation,) = conversation_ids(1)
    await writer.say(conversation, *(f"text {number}" for number in range(100, 103)))
    await damage(nats_server, tmp_path / "nats", ["text 101"])

    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await rebuild(Letters, streams, database_url, stop)
    async with pool.connection() as conn:
        assert await (await conn.execute(LOST)).fetchall() == [(MESSAGING, 2, 2)]
    with pytest.raises(EventsLost, match="MESSAGING:2"):
        await rebuild(Letters, streams, database_url)


async def test_a_live_read_model_goes_on_and_reports_the_loss(
    nats_server: NatsServer,
    streams: Client,
    writer: Writer,
    run: Opened,
    pool: Pool,
    database_url: str,
    tmp_path: Path,
) -> None:
    await rebuild(Letters, streams, database_url)
    (conversation,) = conversation_ids(1)
    await writer.say(conversation, *(f"text {number}" for number in range(100, 103)))
    await damage(nats_server, tmp_path / "nats", ["text 101"])
    runners = await run(Letters)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, await writer.say(conversation, "and on")), PATIENCE)
    assert "1 event is lost, MESSAGING:2." in await last_error(pool, Letters)
    await until_ready(runners)


async def test_a_first_build_goes_live_only_when_the_loss_is_accepted(
    nats_server: NatsServer, streams: Client, writer: Writer, run: Opened, pool: Pool, tmp_path: Path
) -> None:
    (conversation,) = conversation_ids(1)
    last = await writer.say(conversation, *(f"text {number}" for number in range(100, 103)))
    await damage(nats_server, tmp_path / "nats", ["text 102"])
    runners = await run(Letters)
    assert "1 event is lost, MESSAGING:3." in await last_error(pool, Letters)
    assert not runners.ready()
    await accept(JetStream(streams), [Gap(MESSAGING, 3, 3)], "an operator")
    await until_ready(runners)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)


async def test_a_first_build_begins_again_when_the_stream_is_mended(
    nats_server: NatsServer, streams: Client, writer: Writer, run: Opened, pool: Pool, tmp_path: Path
) -> None:
    (conversation,) = conversation_ids(1)
    await writer.say(conversation, *(f"text {number}" for number in range(100, 103)))
    await damage(nats_server, tmp_path / "nats", ["text 101"])
    runners = await run(Letters)
    await last_error(pool, Letters)
    # The same bit once more.
    await nats_server.stop()
    flip_a_byte(tmp_path / "nats", MESSAGING, b"uext 101")
    await nats_server.start()
    await until_ready(runners)
    async with pool.connection() as conn:
        assert await (await conn.execute("SELECT count(*) FROM letters_texts_v1")).fetchone() == (3,)


async def test_a_private_event_that_is_lost_stops_a_rebuild_of_what_reads_the_public_ones(
    nats_server: NatsServer, streams: Client, writer: Writer, database_url: str, tmp_path: Path
) -> None:
    assert Friends.filters()[AUTH] is not None
    user_id = new_id()
    await writer.append(subjects.user(user_id), UserCreated(username="anna"))
    await writer.append(subjects.username_claim("anna"), UsernameClaimed(user_id="private"))
    await nats_server.stop()
    flip_a_byte(tmp_path / "nats", AUTH, b'"private"')
    await nats_server.start()
    with pytest.raises(EventsLost, match="AUTH:2"):
        await rebuild(Friends, streams, database_url)
