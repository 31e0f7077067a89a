"""A follower of a shared reader gets the same as with its own reader: everything, once, in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.errors import ConnectionClosedError

from contracts import subjects
from contracts.errors import Unavailable
from contracts.positions import Position
from contracts.subjects import MESSAGING
from infra.embedded.nats_server import NatsServer
from projections.engine import Runners
from projections.engine.inspection.verify import verify
from projections.engine.reading import message_window, shared_reader
from projections.engine.reading.shared_reader import Follower, SharedReaders
from streams.reader import ReadBatch, StreamWentBack
from streams.topology import ensure_streams
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import Opened, Writer, conversation_ids, seen
from tests.integration.projections.sample_projection import POISON, Letters

PATIENCE = 60
ALL = (MESSAGING, None)
NOBODY = "vestnik.messaging.nobody.>"


class Others(Letters):
    """Another read model of the same stream."""

    name = "others"


class Reads:
    """A follower, and the messages that it returned."""

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self.got: list[int] = []
        self.position = 0

    async def once(self, limit: int = 1_000) -> ReadBatch:
        async with asyncio.timeout(PATIENCE):
            batch = await self.follower.next(limit)
        assert batch.position >= self.position
        assert all(self.position < message.sequence <= batch.position for message in batch.messages)
        self.got += [message.sequence for message in batch.messages]
        self.position = batch.position
        return batch

    async def up_to(self, position: int, limit: int = 1_000) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.position < position:
                await self.once(limit)

    @property
    def shares(self) -> bool:
        return self.follower._own is None


class ReaderGroup:
    """The projections that read MESSAGING in one process."""

    def __init__(self, nc: Client, stack: AsyncExitStack) -> None:
        self.sharing = SharedReaders(nc)
        self._stack = stack

    async def follow(self, after: int = 0, subject_filter: str | None = None) -> Reads:
        follower = self.sharing.follower(MESSAGING, subject_filter, after=after, name="test")
        reads = Reads(await self._stack.enter_async_context(follower))
        reads.position = after
        return reads

    async def together(self, number: int = 2, subject_filter: str | None = None) -> list[Reads]:
        """The given number of followers that share one reader, at the stream's end."""
        everybody = [await self.follow(subject_filter=subject_filter) for _ in range(number)]
        async with asyncio.timeout(PATIENCE):
            while not all(reads.shares for reads in everybody):
                for reads in everybody:
                    await reads.once()
        # Now the shared reader has begun, too.
        await asyncio.gather(*(reads.once() for reads in everybody))
        return everybody


@pytest_asyncio.fixture
async def party(streams: Client) -> AsyncIterator[ReaderGroup]:
    async with AsyncExitStack() as stack:
        yield ReaderGroup(streams, stack)


async def consumers(nc: Client) -> int:
    return (await nc.jetstream().stream_info(MESSAGING)).state.consumer_count


async def until_consumers(nc: Client, number: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while await consumers(nc) != number:
            await asyncio.sleep(0.01)


async def test_all_who_have_caught_up_have_one_consumer_together(
    streams: Client, writer: Writer, party: ReaderGroup
) -> None:
    last = await writer.fill(conversation_ids(2), 50)
    everybody = await party.together(3)
    await until_consumers(streams, 1)
    last = await writer.fill(conversation_ids(1), 20)
    for reads in everybody:
        await reads.up_to(last)
        assert reads.got == list(range(1, last + 1))
    assert await consumers(streams) == 1


async def test_a_single_projection_reads_by_itself(writer: Writer, party: ReaderGroup) -> None:
    last = await writer.fill(conversation_ids(1), 10)
    reads = await party.follow()
    await reads.up_to(last)
    assert (await reads.once()).pending == 0
    assert not party.sharing.readers


async def test_other_filters_are_others(writer: Writer, party: ReaderGroup) -> None:
    last = await writer.fill(conversation_ids(1), 10)
    some, none = await party.follow(), await party.follow(subject_filter=NOBODY)
    for reads in (some, none):
        await reads.up_to(last)
        await reads.once()
    assert not party.sharing.readers
    assert none.got == []


async def test_who_comes_later_joins_behind_what_it_has_had(
    streams: Client, writer: Writer, party: ReaderGroup
) -> None:
    last = await writer.fill(conversation_ids(1), 10)
    one, other = await party.together()
    last = await writer.fill(conversation_ids(1), 10)
    await one.up_to(last)
    late = await party.follow(after=last - 3)
    await late.up_to(last)
    assert late.shares
    assert late.got == [last - 2, last - 1, last]
    await other.up_to(last, limit=1)
    assert other.got == one.got == list(range(1, last + 1))
    assert await consumers(streams) == 1


async def test_who_is_ahead_joins_when_the_others_are_there(
    writer: Writer, party: ReaderGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has read by itself, the shared reader reads too before it is believed."""
    await party.together()
    monkeypatch.setattr(shared_reader, "_LIMIT", 1)
    last = await writer.fill(conversation_ids(1), 4)
    ahead = await party.follow(after=last - 1)
    async with asyncio.timeout(PATIENCE):
        while not ahead.shares:
            await ahead.once()
            assert ahead.shares == (party.sharing.readers[ALL]._window.end >= last)
    assert ahead.got == [last]


async def test_a_slow_one_neither_keeps_others_nor_memory(
    streams: Client, writer: Writer, party: ReaderGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_window, "_MESSAGES", 20)
    quick, slow = await party.together()
    conversation = conversation_ids(1)[0]
    last = 0
    for _ in range(30):
        last = await writer.say(conversation, "a", "b")
        await quick.up_to(last)
        assert len(party.sharing.readers[ALL]._window._messages) <= 20
    assert slow.shares
    await slow.once(limit=7)
    assert not slow.shares
    await slow.up_to(last, limit=7)
    async with asyncio.timeout(PATIENCE):
        while not slow.shares:
            await slow.once()
    assert slow.got == quick.got == list(range(1, last + 1))
    await until_consumers(streams, 1)


@pytest.mark.parametrize("held", [30, 4_000])
async def test_nothing_is_missed_or_had_twice_while_others_write(
    writer: Writer, party: ReaderGroup, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    """At paces so different that with a small window some fall out of it again and again."""
    monkeypatch.setattr(message_window, "_MESSAGES", held)
    total, shared = 1_500, set[int]()

    async def write() -> None:
        one, other = conversation_ids(2)
        for number in range(total // 3):
            await writer.say(one if number % 2 else other, "a", "b", "c")

    async def read(number: int) -> Reads:
        reads = await party.follow()
        while reads.position < total:
            await reads.once(limit=[1_000, 7, 40][number])
            if reads.shares:
                shared.add(number)
            await asyncio.sleep([0, 0.005, 0.05][number])
        return reads

    _, *everybody = await asyncio.gather(write(), *(read(number) for number in range(3)))
    for reads in everybody:
        assert reads is not None
        assert reads.got == list(range(1, total + 1))
    assert len(shared) >= 2


async def test_a_sign_of_life_reaches_everybody_and_says_that_the_end_was_reached(
    writer: Writer, party: ReaderGroup
) -> None:
    last = await writer.fill(conversation_ids(1), 3)
    one, other = await party.together()
    await asyncio.gather(one.up_to(last), other.up_to(last))
    for batch in await asyncio.gather(one.once(), other.once()):
        assert batch == ReadBatch([], last, 0)
    for batch in await asyncio.gather(one.once(), other.once()):
        assert batch == ReadBatch([], last, 0)


async def test_under_a_filter_the_positions_of_all_move_past_what_does_not_pass(
    writer: Writer, party: ReaderGroup
) -> None:
    one, other = await party.together(subject_filter=NOBODY)
    last = await writer.fill(conversation_ids(1), 5)
    await one.up_to(last)
    await other.up_to(last)
    assert one.got == other.got == []


async def test_everybody_goes_on_over_restarts_of_the_server(
    streams: Client, writer: Writer, party: ReaderGroup, nats_server: NatsServer
) -> None:
    one, other = await party.together()
    conversation = conversation_ids(1)[0]
    last = 0
    for _ in range(3):
        last = await writer.say(conversation, "a", "b", "c")
        # At different positions, when the server is killed.
        await one.up_to(last)
        await other.once(limit=1)
        nats_server.kill()
        await nats_server.start()
        last = await writer.say(conversation, "d", "e")
        await one.up_to(last)
    await other.up_to(last, limit=2)
    assert one.got == other.got == list(range(1, last + 1))
    async with asyncio.timeout(PATIENCE):
        while not (one.shares and other.shares):
            await one.once()
            await other.once()
    await until_consumers(streams, 1)


async def test_those_who_wait_go_on_over_a_restart(writer: Writer, party: ReaderGroup, nats_server: NatsServer) -> None:
    one, other = await party.together()
    waiting = [asyncio.create_task(reads.up_to(2)) for reads in (one, other)]
    await nats_server.stop()
    await nats_server.start()
    await writer.say(conversation_ids(1)[0], "a", "b")
    await asyncio.gather(*waiting)
    assert one.got == other.got == [1, 2]
    assert one.shares
    assert other.shares


async def test_events_read_before_a_lost_connection_are_requested_again(
    streams: Client, writer: Writer, party: ReaderGroup, nats_server: NatsServer
) -> None:
    """The server may have lost them meanwhile, and given their sequences to other events."""
    one, other = await party.together()
    last = await writer.say(conversation_ids(1)[0], "a", "b", "c")
    await one.up_to(last)
    await other.once(limit=1)
    nats_server.kill()
    await nats_server.start()
    async with asyncio.timeout(PATIENCE):
        while not streams.stats["reconnects"]:
            await asyncio.sleep(0.01)
    assert (one.shares, other.shares) == (True, True)
    await other.once()
    assert (one.shares, other.shares) == (True, False)
    await other.up_to(last)
    assert other.got == [1, 2, 3]


async def test_a_stream_that_has_lost_events_is_a_clear_word_to_everybody(
    streams: Client, writer: Writer, party: ReaderGroup
) -> None:
    one, other = await party.together()
    last = await writer.say(conversation_ids(1)[0], "a", "b", "c")
    await one.up_to(last)
    await other.up_to(last)
    waiting = [asyncio.create_task(_read_on(reads)) for reads in (one, other)]
    await streams.jetstream().delete_stream(MESSAGING)
    await ensure_streams(streams, replicas=1, names=[MESSAGING])
    for task in waiting:
        with pytest.raises(StreamWentBack, match=f"ends at 0, but was read up to {last}"):
            await task
    # Nobody is led to the reader that has failed.
    assert not party.sharing.readers
    with pytest.raises(StreamWentBack):
        await one.once()
    afresh = await party.together()
    assert [reads.got for reads in afresh] == [[], []]


async def test_a_closed_connection_ends_it_for_everybody(streams: Client, party: ReaderGroup) -> None:
    everybody = await party.together()
    waiting = [asyncio.create_task(_read_on(reads)) for reads in everybody]
    await streams.close()
    for task in waiting:
        # Depending on whether the reader was waiting or about to ask for more.
        with pytest.raises((Unavailable, ConnectionClosedError)):
            await task


async def _read_on(reads: Reads) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            await reads.once()


async def test_one_who_is_cancelled_disturbs_nobody(writer: Writer, party: ReaderGroup) -> None:
    one, other = await party.together()
    while (await one.once()).messages or (await other.once()).messages:
        continue
    for _ in range(5):
        waits, goes = asyncio.create_task(other.once()), asyncio.create_task(one.once())
        await asyncio.sleep(0)
        goes.cancel()
        await asyncio.wait([goes])
        last = await writer.say(conversation_ids(1)[0], "a")
        await waits
        await other.up_to(last)
    await one.up_to(last)
    assert one.got == other.got == [1, 2, 3, 4, 5]


async def test_with_the_last_member_the_reader_ends(streams: Client) -> None:
    before = asyncio.all_tasks()
    async with AsyncExitStack() as stack:
        party = ReaderGroup(streams, stack)
        one, other = await party.together()
        await other.follower.__aexit__(None, None, None)
        assert (await one.once()).position == 0
        assert ALL in party.sharing.readers
    assert not party.sharing.readers
    await until_consumers(streams, 0)
    assert [task for task in asyncio.all_tasks() - before if "shared reader" in task.get_name()] == []


async def test_two_read_models_of_a_stream_are_kept_up_to_date_by_one_consumer(
    streams: Client, writer: Writer, run: Opened, database_url: str
) -> None:
    runners = await run(Letters, Others)
    one, other = conversation_ids(2)
    await writer.say(one, "a", POISON, "b")
    last = await writer.fill([other], 100)
    await until_applied(runners, last)
    await until_consumers(streams, 1)
    for number in range(20):
        last = await writer.say(other, str(number))
        await writer.say(one, "waits")
    last = await writer.append(subjects.read_mark(other, "x"), seen(other, 100))
    await until_applied(runners, last)
    assert await consumers(streams) == 1
    for projection in (Letters, Others):
        verdict = await verify(projection, streams, database_url)
        assert (verdict.equal, verdict.dead_letters) == (True, 22)


async def test_what_cannot_be_opened_is_a_dead_letter_of_each(
    streams: Client, writer: Writer, run: Opened, pool: Pool
) -> None:
    runners = await run(Letters, Others)
    odd, other = conversation_ids(2)
    await until_applied(runners, await writer.fill([other], 10))
    await until_consumers(streams, 1)
    stored = await streams.jetstream().publish(subjects.conversation(odd), b"no envelope")
    await until_applied(runners, await writer.say(other, "goes on"))
    async with pool.connection() as conn:
        cursor = await conn.execute(
            "SELECT projection, sequence, type, reason FROM projection_dead_letters ORDER BY projection"
        )
        dead_letters = [
            (name, sequence, kind, "DecodeError" in reason) for name, sequence, kind, reason in await cursor.fetchall()
        ]
    assert dead_letters == [("letters", stored.seq, "?", True), ("others", stored.seq, "?", True)]


async def until_applied(runners: Runners, last: int) -> None:
    for projection in (Letters, Others):
        await runners.waiting.wait(projection, Position.at(MESSAGING, last), PATIENCE)


async def test_a_read_model_whose_table_is_locked_keeps_no_other(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_window, "_MESSAGES", 50)
    runners = await run(Letters, Others)
    conversation = conversation_ids(1)[0]
    await until_applied(runners, await writer.say(conversation, "a"))
    await until_consumers(streams, 1)
    async with pool.connection() as conn, conn.transaction():
        await conn.execute("LOCK TABLE letters_v1_b1 IN ACCESS EXCLUSIVE MODE")
        last = 0
        for _ in range(40):
            last = await writer.say(conversation, *"abcde")
            await runners.waiting.wait(Others, Position.at(MESSAGING, last), PATIENCE)
        assert not runners.waiting.reached(Letters, Position.at(MESSAGING, last))
    await until_applied(runners, last)
    await until_consumers(streams, 1)
    for projection in (Letters, Others):
        assert (await verify(projection, streams, database_url)).equal


async def test_read_models_whose_connections_and_server_are_killed_apply_every_event_once(
    streams: Client, writer: Writer, run: Opened, pool: Pool, nats_server: NatsServer, database_url: str
) -> None:
    runners = [await run(Letters, Others), await run(Letters, Others)]
    conversations = conversation_ids(3)
    killed = last = 0
    for number in range(12):
        last = await writer.fill(conversations, 20)
        async with pool.connection() as conn:
            name = f"projection {('letters', 'others')[number % 2]}"
            cursor = await conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [name]
            )
            killed += len(await cursor.fetchall())
        if number % 3 == 2:
            nats_server.kill()
            await nats_server.start()
    last = await writer.fill(conversations, 20)
    for replica in runners:
        await until_applied(replica, last)
    assert killed > 0
    for projection in (Letters, Others):
        verdict = await verify(projection, streams, database_url)
        assert (verdict.equal, verdict.events) == (True, 13 * 60)
