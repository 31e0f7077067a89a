"""A build has one writer, which asserts its checkpoint; rows and checkpoint are written together or not at all."""

import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import Recorded
from contracts.events.friendship import FriendshipAccepted
from contracts.events.message import MessageSent
from contracts.positions import Position
from contracts.subjects import CONTACT, MESSAGING
from contracts.values.ids import new_id, pair_id
from projections.engine import Projection, RowChanges, handles
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.errors import BuildSuperseded
from projections.engine.apply.writing import batch_transaction
from projections.engine.rebuild.cutover import start_build
from projections.engine.rebuild.rebuild import rebuild
from projections.engine.storage.builds import Build, Connection
from tests.integration.projections.event_writer import Writer, conversation_ids
from tests.integration.projections.sample_projection import POISON, Letters
from tests.integration.projections.stored_rows import COUNT, TEXTS, number, stored


@pytest.mark.parametrize("copied_from", [1, 10_000])
async def test_of_two_writers_the_one_that_comes_second_writes_nothing(
    streams: Client,
    writer: Writer,
    conn: Connection,
    build: Build,
    copied_from: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch_transaction, "_COPIED_FROM", copied_from)
    await writer.fill(conversation_ids(3), 10)
    messages = await stored(streams)
    one, other = await BuildWriter.open(conn, Letters, build), await BuildWriter.open(conn, Letters, build)
    await one.apply(MESSAGING, messages[:20], 20)
    with pytest.raises(BuildSuperseded):
        await other.apply(MESSAGING, messages, 30)
    assert (await number(conn, COUNT), await number(conn, TEXTS)) == (20, 20)
    await one.apply(MESSAGING, messages, 30)
    assert (await number(conn, COUNT), await number(conn, TEXTS)) == (30, 30)


async def failed_transactions(conn: Connection) -> int:
    await conn.execute("SELECT pg_stat_force_next_flush()")
    return await number(conn, "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()")


async def test_for_a_writer_that_comes_second_no_transaction_fails_at_the_server(
    streams: Client, writer: Writer, conn: Connection, build: Build
) -> None:
    await writer.fill(conversation_ids(1), 2)
    messages = await stored(streams)
    one, other = await BuildWriter.open(conn, Letters, build), await BuildWriter.open(conn, Letters, build)
    before = await failed_transactions(conn)
    await one.apply(MESSAGING, messages[:1], 1)
    with pytest.raises(BuildSuperseded):
        await other.apply(MESSAGING, messages, 2)
    assert await number(conn, COUNT) == 1
    assert await failed_transactions(conn) == before


async def test_a_writer_that_comes_second_is_stopped_even_where_an_event_is_refused(
    streams: Client, writer: Writer, conn: Connection, build: Build
) -> None:
    await writer.say(conversation_ids(1)[0], "a", "poison for the table", "b")
    messages = await stored(streams)
    one, other = await BuildWriter.open(conn, Letters, build), await BuildWriter.open(conn, Letters, build)
    await one.apply(MESSAGING, messages, 3)
    with pytest.raises(BuildSuperseded):
        await other.apply(MESSAGING, messages, 3)
    assert await number(conn, COUNT) == 1
    assert await number(conn, "SELECT count(*) FROM projection_dead_letters") == 2


async def test_a_later_batch_cannot_be_written_before_an_earlier_one(
    streams: Client, writer: Writer, conn: Connection, build: Build
) -> None:
    await writer.fill(conversation_ids(1), 10)
    messages = await stored(streams)
    one = await BuildWriter.open(conn, Letters, build)
    earlier, later = one.batch(), one.batch()
    await one.add_to_batch(earlier, MESSAGING, messages[:5], 5)
    await one.add_to_batch(later, MESSAGING, messages[5:], 10)
    with pytest.raises(BuildSuperseded):
        await one.commit(later)
    assert await number(conn, COUNT) == 0


@pytest.mark.parametrize("poison", [POISON, "poison for the table"])
async def test_a_batch_taken_before_the_one_before_it_failed_lets_its_aggregate_wait(
    streams: Client, writer: Writer, conn: Connection, build: Build, poison: str
) -> None:
    bad, good = conversation_ids(2)
    await writer.say(bad, poison)
    await writer.say(good, "a")
    await writer.say(bad, "waits")
    await writer.say(good, "b")
    messages = await stored(streams)
    one = await BuildWriter.open(conn, Letters, build)
    earlier, later = one.batch(), one.batch()
    await one.add_to_batch(earlier, MESSAGING, messages[:2], 2)
    await one.add_to_batch(later, MESSAGING, messages[2:], 4)
    await one.commit(earlier)
    await one.commit(later)
    assert await number(conn, COUNT) == 2
    cursor = await conn.execute("SELECT sequence, state FROM projection_dead_letters ORDER BY sequence")
    assert await cursor.fetchall() == [(1, "failed"), (3, "parked")]
    assert one.letters == (1, 1)


class Both(Projection):
    streams = (CONTACT, MESSAGING)
    tables = "CREATE TABLE {both} (id uuid PRIMARY KEY, events bigint NOT NULL DEFAULT 0)"

    @handles(MessageSent, FriendshipAccepted)
    def happened(self, event: Recorded[MessageSent | FriendshipAccepted], write: RowChanges) -> None:
        write.upsert("both", key={"id": event.aggregate_id}, add={"events": 1})


async def test_one_batch_moves_the_checkpoints_of_all_its_streams_or_of_none(
    streams: Client, writer: Writer, conn: Connection
) -> None:
    one, other = new_id(), new_id()
    pair = pair_id(one, other)
    await writer.append(subjects.friendship(pair), FriendshipAccepted(requester_id=one, addressee_id=other))
    await writer.say(pair, "a", "b")
    friends, said = await stored(streams, CONTACT), await stored(streams)
    build = await start_build(conn, Both)
    first, second = await BuildWriter.open(conn, Both, build), await BuildWriter.open(conn, Both, build)
    await first.apply(CONTACT, friends, 1)
    batch = second.batch()
    await second.add_to_batch(batch, MESSAGING, said, 2)
    await second.add_to_batch(batch, CONTACT, friends, 1)
    with pytest.raises(BuildSuperseded):
        await second.commit(batch)
    assert await number(conn, "SELECT events FROM both_v1_b1") == 1
    await first.apply(MESSAGING, said, 2)
    assert await number(conn, "SELECT events FROM both_v1_b1") == 3
    assert first.position == Position({CONTACT: 1, MESSAGING: 2})


async def test_events_that_nobody_handles_move_the_checkpoint(
    streams: Client, writer: Writer, conn: Connection
) -> None:
    class Deaf(Projection):
        streams = (MESSAGING,)
        tables = "CREATE TABLE {deaf} (id uuid PRIMARY KEY)"

    await writer.fill(conversation_ids(1), 3)
    build = await start_build(conn, Deaf)
    await (await BuildWriter.open(conn, Deaf, build)).apply(MESSAGING, await stored(streams), 3)
    assert (await BuildWriter.open(conn, Deaf, build)).position == Position.at(MESSAGING, 3)


async def test_a_build_gets_its_readers_indexes_when_it_is_shown(
    streams: Client, writer: Writer, conn: Connection, database_url: str
) -> None:
    indexes = "SELECT count(*) FROM pg_indexes WHERE tablename = 'letters_texts_v1_b1'"
    await writer.fill(conversation_ids(1), 3)
    await start_build(conn, Letters)
    assert await number(conn, indexes) == 1
    await rebuild(Letters, streams, database_url)
    assert await number(conn, indexes) == 2
