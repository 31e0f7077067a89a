"""Reading is gapless and in order, whatever happens to the consumer, the connection or the server."""

import asyncio
import itertools
import math
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nats.aio.client import Client

from contracts.errors import KeysUnavailable, Unavailable
from contracts.events.message import MessageSent
from contracts.subjects import AUTH, MESSAGING, conversation
from infra.embedded.nats_server import NatsServer
from streams.jetstream.api import JetStream
from streams.jetstream.ordered_consumer import Consumer
from streams.log import Log
from streams.loss.missing_events import Gap
from streams.message import Message
from streams.personal_data import cipher
from streams.personal_data.reading import unseal_with
from streams.personal_data.unsealer import Unsealer
from streams.reader import ReadBatch, Reader, StreamWentBack
from streams.topology import StreamMissing, ensure_streams
from tests.damage import flip_a_byte
from tests.integration.recorded_keys import LateKeys
from tests.integration.streams.conftest import append_to, fill

PATIENCE = 60


async def until(batches: AsyncIterator[ReadBatch], position: int) -> list[Message]:
    """Reads up to a position; checks that a batch never claims less than it contains."""
    messages: list[Message] = []
    async with asyncio.timeout(PATIENCE):
        async for batch in batches:
            messages += batch.messages
            assert not batch.messages or batch.messages[-1].sequence <= batch.position
            if batch.position >= position:
                return messages
    raise AssertionError("the reader ended")


def sequences(messages: list[Message]) -> list[int]:
    return [message.sequence for message in messages]


async def consumers_of(nats: Client, stream: str) -> list[str]:
    return [consumer.name for consumer in await nats.jetstream().consumers_info(stream)]


async def test_a_stream_is_read_whole_and_then_followed(streams: Client, log: Log) -> None:
    await fill(log, 2_500)
    async with Reader(streams, MESSAGING, name="test", buffer=1_000) as reader:
        batches = reader.batches(limit=300)
        assert sequences(await until(batches, 2_500)) == list(range(1, 2_501))
        await fill(log, 10)
        live = await until(batches, 2_510)
        assert live == await log.read(conversation("a"), after=2_500)


async def test_a_reader_that_takes_turns_asks_only_when_all_was_taken(
    streams: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(log, 2_500)
    asked: list[int] = []
    may_pull = Consumer._may_pull

    def observed(consumer: Consumer, size: int) -> bool:
        if may_pull(consumer, size):
            asked.append(len(consumer._arrived) + consumer._requested)
            return True
        return False

    monkeypatch.setattr(Consumer, "_may_pull", observed)
    async with Reader(streams, MESSAGING, name="test") as reader:
        reader.take_turns(True)
        batches = reader.batches(limit=300)
        read = await until(batches, 1_300)
        assert len(asked) >= 3
        assert not any(asked)
        # From here on as any other, and back again.
        reader.take_turns(False)
        read += await until(batches, 1_900)
        reader.take_turns(True)
        read += await until(batches, 2_500)
        await fill(log, 10)
        read += await until(batches, 2_510)
    assert sequences(read) == list(range(1, 2_511))


async def test_reading_begins_behind_a_position(streams: Client, log: Log) -> None:
    await fill(log, 20)
    async with Reader(streams, MESSAGING, after=15, name="test") as reader:
        assert sequences(await until(reader.batches(), 20)) == [16, 17, 18, 19, 20]
    async with Reader(streams, MESSAGING, after=20, name="test") as reader:
        assert await until(reader.batches(), 20) == []


async def test_no_batch_is_larger_than_its_limit_and_the_last_has_nothing_pending(streams: Client, log: Log) -> None:
    await fill(log, 1_000)
    async with Reader(streams, MESSAGING, name="test") as reader:
        seen = 0
        async for batch in reader.batches(limit=7):
            assert len(batch.messages) <= 7
            seen += len(batch.messages)
            if batch.pending == 0:
                break
        assert seen == batch.position == 1_000


async def test_an_idle_reader_gives_a_sign_of_life_each_second(streams: Client, log: Log) -> None:
    await fill(log, 1)
    async with Reader(streams, MESSAGING, name="test") as reader:
        batches = reader.batches()
        await until(batches, 1)
        # Of some tries one at least has nothing else of the machine in between.
        async with asyncio.timeout(PATIENCE):
            seconds = math.inf
            while seconds >= 3:
                begin = time.monotonic()
                for _ in range(3):
                    assert await anext(batches) == ReadBatch([], 1, 0)
                seconds = time.monotonic() - begin


async def test_an_idle_reader_is_not_woken_by_heartbeats_that_report_nothing_new(streams: Client, log: Log) -> None:
    """Under a filter there are five a second."""
    await fill(log, 1)
    async with Reader(streams, MESSAGING, name="test", subject_filter=conversation("none")) as reader:
        batches = reader.batches()
        await until(batches, 1)
        begin = time.monotonic()
        for _ in range(2):
            assert await anext(batches) == ReadBatch([], 1, 0)
        assert time.monotonic() - begin >= 1.5


async def test_a_reader_to_whom_the_position_is_not_urgent_gets_few_heartbeats(streams: Client, log: Log) -> None:
    await fill(log, 1)
    nobody = conversation("none")
    async with Reader(streams, MESSAGING, name="test", subject_filter=nobody, prompt=False) as reader:
        batches = reader.batches()
        await until(batches, 1)
        begin, received = time.monotonic(), streams.stats["in_msgs"]
        for _ in range(3):
            await anext(batches)
        # With urgency there would be five a second.
        assert streams.stats["in_msgs"] - received <= 2 * (time.monotonic() - begin) + 1
        await fill(log, 1)
        assert await until(batches, 2) == []


async def test_under_a_filter_the_position_reaches_the_streams_end(streams: Client, log: Log) -> None:
    for number in range(10):
        await fill(log, 3, "wanted")
        await fill(log, 2, f"other-{number}")
    async with Reader(streams, MESSAGING, name="test", subject_filter=conversation("wanted")) as reader:
        batches = reader.batches()
        messages = await until(batches, 50)
        assert messages == await log.read(conversation("wanted"))
        await fill(log, 5, "another")
        assert await until(batches, 55) == []
        await fill(log, 1, "wanted")
        assert sequences(await until(batches, 56)) == [56]


async def test_under_a_filter_that_nothing_passes_the_position_reaches_the_streams_end(
    streams: Client, log: Log
) -> None:
    await fill(log, 5)
    async with Reader(streams, MESSAGING, name="test", subject_filter=conversation("none")) as reader:
        assert await until(reader.batches(), 5) == []


async def test_under_a_filter_the_position_never_passes_an_event_that_is_still_to_come(
    streams: Client, log: Log
) -> None:
    """Writers append while the reader claims positions: no event that passes the filter may be below a claimed
    position."""
    wanted: list[int] = []
    total = 400

    async def write() -> None:
        for number in range(total):
            name = "wanted" if number % 7 == 0 else "other"
            version = number // 7 + 1
            expected = await log.last_sequence(conversation(name))
            sequence = await log.append(append_to(name, expected=expected, version=version))
            if name == "wanted":
                wanted.append(sequence)

    async with Reader(streams, MESSAGING, name="test", subject_filter=conversation("wanted")) as reader:
        writing = asyncio.create_task(write())
        got: list[int] = []
        position = 0
        async with asyncio.timeout(PATIENCE):
            async for batch in reader.batches():
                assert all(message.sequence > position for message in batch.messages)
                assert batch.position >= position
                got += sequences(batch.messages)
                position = batch.position
                if position >= total:
                    break
        await writing
    assert got == wanted


async def test_a_reader_goes_on_over_restarts_of_the_server(streams: Client, log: Log, nats_server: NatsServer) -> None:
    await fill(log, 500)
    async with Reader(streams, MESSAGING, name="test", buffer=100) as reader:
        batches = reader.batches(limit=10)
        got = await until(batches, 100)
        for restart in range(3):
            nats_server.kill()
            await nats_server.start()
            await fill(log, 50)
            got += await until(batches, 300 + 100 * restart)
        got += await until(batches, 650)
    assert sequences(got) == list(range(1, 651))


async def test_a_reader_that_waits_goes_on_over_a_restart(streams: Client, log: Log, nats_server: NatsServer) -> None:
    await fill(log, 3)
    async with Reader(streams, MESSAGING, name="test") as reader:
        batches = reader.batches()
        await until(batches, 3)
        more = asyncio.create_task(until(batches, 5))
        await nats_server.stop()
        await nats_server.start()
        await fill(log, 2)
        assert sequences(await more) == [4, 5]


async def test_a_reader_goes_on_when_its_consumer_is_taken_away(streams: Client, log: Log) -> None:
    await fill(log, 300)
    async with Reader(streams, MESSAGING, name="test", buffer=20) as reader:
        batches = reader.batches(limit=5)
        got: list[Message] = []
        for position in range(60, 301, 60):
            got += await until(batches, position)
            for name in await consumers_of(streams, MESSAGING):
                assert name.startswith("test-")
                await streams.jetstream().delete_consumer(MESSAGING, name)
        await fill(log, 1)
        got += await until(batches, 301)
    assert sequences(got) == list(range(1, 302))


async def test_a_message_lost_on_the_way_is_read_again(streams: Client, log: Log) -> None:
    """A slow consumer's messages are dropped by the client; the consumer's sequence shows the gap."""
    await fill(log, 1_000)
    async with Reader(streams, MESSAGING, name="test", buffer=200) as reader:
        batches = reader.batches(limit=50)
        got = await until(batches, 50)
        arrived = reader._consumer._arrived  # type: ignore[union-attr]  # the only way to lose one on purpose
        del arrived[len(arrived) // 2]
        got += await until(batches, 1_000)
    assert sequences(got) == list(range(1, 1_001))


async def test_a_cancelled_reader_goes_on_where_it_was(streams: Client, log: Log) -> None:
    await fill(log, 400)
    async with Reader(streams, MESSAGING, name="test", buffer=40) as reader:
        got: list[Message] = []
        for turns in itertools.count():
            batches = reader.batches(limit=20)
            step = asyncio.ensure_future(anext(batches))
            for _ in range(turns % 5):
                await asyncio.sleep(0)
            step.cancel()
            try:
                got += (await step).messages
            except asyncio.CancelledError:
                got += (await anext(reader.batches(limit=20))).messages
            if len(got) >= 400:
                break
    assert sequences(got) == list(range(1, 401))


async def test_what_waits_in_memory_is_bounded(streams: Client, log: Log) -> None:
    await fill(log, 3_000)
    async with Reader(streams, MESSAGING, name="test", buffer=500) as reader:
        batches = reader.batches(limit=100)
        most = 0
        async for batch in batches:
            await streams.flush()
            consumer = reader._consumer
            assert consumer is not None
            most = max(most, len(consumer._arrived) + consumer._requested)
            if batch.position == 3_000:
                break
        assert most <= 500


async def test_a_consumer_is_deleted_on_exit(streams: Client, log: Log) -> None:
    await fill(log, 1)
    async with Reader(streams, MESSAGING, name="a name, of two parts") as reader:
        await until(reader.batches(), 1)
        assert [name.startswith("a-name--of-two-parts-") for name in await consumers_of(streams, MESSAGING)] == [True]
    async with asyncio.timeout(PATIENCE):
        while await consumers_of(streams, MESSAGING):
            continue


async def test_a_reader_waits_for_its_stream(nats: Client) -> None:
    async with Reader(nats, AUTH, name="test") as reader:
        first = asyncio.ensure_future(anext(reader.batches()))
        await ensure_streams(nats, replicas=1, names=[MESSAGING])
        assert not first.done()
        await ensure_streams(nats, replicas=1, names=[AUTH])
        async with asyncio.timeout(PATIENCE):
            assert await first == ReadBatch([], 0, 0)


async def test_a_stream_that_never_comes_is_a_clear_word(nats: Client) -> None:
    async with Reader(nats, AUTH, name="test", patience=0.2) as reader:
        with pytest.raises(StreamMissing, match="no stream AUTH; auth creates it when it starts"):
            await anext(reader.batches())


async def test_a_stream_shorter_than_what_was_read_of_it_is_a_clear_word(streams: Client, log: Log) -> None:
    await fill(log, 3)
    async with Reader(streams, MESSAGING, after=4, name="test") as reader:
        with pytest.raises(StreamWentBack, match="ends at 3, but was read up to 4"):
            await anext(reader.batches())


async def test_a_closed_connection_ends_the_reading(streams: Client, log: Log) -> None:
    await fill(log, 3)
    async with Reader(streams, MESSAGING, name="test") as reader:
        batches = reader.batches()
        await until(batches, 3)
        await streams.close()
        with pytest.raises(Unavailable):
            await until(batches, 4)


async def test_a_reader_of_a_whole_stream_names_what_was_lost_on_disk(
    nats_server: NatsServer, streams: Client, log: Log, tmp_path: Path
) -> None:
    await fill(log, 20)
    events = await log.read(conversation("a"))
    await nats_server.stop()
    # The first one, two in a row, and the last one; with its notes the server counts them and skips them.
    for event in (events[0], events[7], events[8], events[19]):
        flip_a_byte(tmp_path / "nats", MESSAGING, b'"id":"%b"' % event.envelope().id.encode())
    await nats_server.start()
    assert (await JetStream(streams).info(MESSAGING)).state.messages == 20
    lost = [Gap(MESSAGING, 1, 1), Gap(MESSAGING, 8, 9), Gap(MESSAGING, 20, 20)]
    async with Reader(streams, MESSAGING, name="test", report_gaps=True) as reader:
        sequences, gaps = await read_whole(reader, 20)
    assert sequences == [sequence for sequence in range(1, 21) if sequence not in (1, 8, 9, 20)]
    assert gaps == lost
    async with Reader(streams, MESSAGING, after=19, name="test", report_gaps=True) as reader:
        assert await read_whole(reader, 20) == ([], lost[2:])


async def test_what_is_written_while_a_whole_stream_is_read_is_no_gap(streams: Client, log: Log) -> None:
    total = 3_000
    async with Reader(streams, MESSAGING, name="test", buffer=100, report_gaps=True) as reader:
        writing = asyncio.create_task(fill(log, total))
        assert await read_whole(reader, total) == (list(range(1, total + 1)), [])
        await writing


async def test_what_a_reader_did_not_get_and_the_leader_has_is_no_loss(
    streams: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = Consumer.receive

    async def forgetful(self: Consumer, limit: int, *, patience: float) -> list[Message]:
        received = await receive(self, limit, patience=patience)
        return [message for message in received if message.sequence not in (1, 5, 6, 10)]

    monkeypatch.setattr(Consumer, "receive", forgetful)
    await fill(log, 10)
    async with Reader(streams, MESSAGING, name="test", report_gaps=True) as reader:
        assert await read_whole(reader, 10) == (list(range(1, 11)), [])


async def read_whole(reader: Reader, end: int) -> tuple[list[int], list[Gap]]:
    """Sequences and gaps up to a position."""
    sequences: list[int] = []
    gaps: list[Gap] = []
    async with asyncio.timeout(PATIENCE):
        async for batch in reader.batches():
            sequences += [message.sequence for message in batch.messages]
            gaps += batch.gaps
            if batch.position >= end:
                return sequences, gaps
    raise AssertionError


@pytest.mark.parametrize("report_gaps", [False, True])
async def test_while_a_key_is_missing_nothing_is_read_over_and_the_next_call_reads_it(
    streams: Client, log: Log, report_gaps: bool
) -> None:
    key, keys = AESGCM(cipher.new_key()), LateKeys()
    unseal_with(streams, Unsealer(keys))
    sealed = cast(str, cipher.seal(key, "k", "message.sent/text", "hidden"))
    await log.append_together([append_to("a"), append_to("a", version=2, text=sealed), append_to("a", version=3)])
    async with Reader(streams, MESSAGING, name="test", report_gaps=report_gaps) as reader:
        for _ in range(2):
            with pytest.raises(KeysUnavailable):
                await reader.next(10)
        # What needs no personal data goes on.
        assert await log.last_sequence(conversation("a")) == 3
        with pytest.raises(KeysUnavailable):
            await log.read(conversation("a"))
        keys.key = key
        messages = await until(reader.batches(limit=10), 3)
        assert sequences(messages) == [1, 2, 3]
        assert [message.open().data for message in messages] == [
            message.open().data for message in await log.read(conversation("a"))
        ]
        event = messages[1].open().data
        assert isinstance(event, MessageSent)
        assert event.text == "hidden"
