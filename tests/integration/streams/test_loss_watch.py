"""Nothing is appended to a stream that lacks events which it had."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client

from contracts.errors import HistoryLost, Unavailable
from contracts.subjects import MESSAGING, conversation
from infra.embedded.nats_server import NatsServer
from streams.jetstream.api import JetStream, StreamInfo, StreamState
from streams.log import Log
from streams.loss.missing_events import Gap, accept
from streams.loss.watch import LossWatch, lost, undecided
from tests.damage import blocks, cut_the_end
from tests.integration.streams.conftest import append_to, fill, until_noticed

# Less than a message, so that one is lost.
A_BIT = 100


class Checkpoint:
    """The checkpoint of a read model."""

    def __init__(self, sequence: int = 0) -> None:
        self.sequence = sequence

    async def highest(self) -> int:
        return self.sequence


def watched(nats: Client, checkpoint: int = 0) -> tuple[Log, LossWatch]:
    watch = LossWatch(nats, MESSAGING, Checkpoint(checkpoint).highest)
    return Log(nats, watches={MESSAGING: watch}), watch


@contextmanager
def refused(caplog: pytest.LogCaptureFixture, gap: str) -> Iterator[None]:
    """The gap is in the log for operators, and not in what clients get."""
    with pytest.raises(HistoryLost) as refusal:
        yield
    assert gap in caplog.text
    assert MESSAGING not in str(refusal.value)


async def lose_the_end(server: NatsServer, nats: Client, folder: Path, *, notes: bool) -> None:
    """Restarts the server without its last message; from its state it knows that there was one."""
    await server.stop()
    await until_noticed(nats)
    cut_the_end(folder / "nats", MESSAGING, A_BIT)
    if not notes:
        (blocks(folder / "nats", MESSAGING)[0].parent / "index.db").unlink()
    await server.start()


async def test_what_a_read_model_has_applied_is_not_written_over(
    nats_server: NatsServer, streams: Client, log: Log, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(log, 20)
    await lose_the_end(nats_server, streams, tmp_path, notes=False)
    assert (await JetStream(streams).info(MESSAGING)).state.last_seq == 19
    owner, _ = watched(streams, checkpoint=20)
    with refused(caplog, "MESSAGING:20"):
        await owner.append(append_to("b"))
    with refused(caplog, "MESSAGING:20"):
        await owner.append_together([append_to("b"), append_to("c")])
    assert await owner.end_of(MESSAGING) == 19
    assert len(await owner.read(conversation("a"))) == 19


async def test_what_this_process_has_seen_acknowledged_is_not_written_over_by_what_it_sends_next(
    nats_server: NatsServer, streams: Client, tmp_path: Path
) -> None:
    owner, _ = watched(streams)
    await fill(owner, 20)
    await nats_server.stop()
    await until_noticed(streams)
    waiting = [asyncio.create_task(owner.append(append_to(name))) for name in "bcdefgh"]
    cut_the_end(tmp_path / "nats", MESSAGING, A_BIT)
    (blocks(tmp_path / "nats", MESSAGING)[0].parent / "index.db").unlink()
    await nats_server.start()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [HistoryLost] * len(waiting)
    assert await owner.end_of(MESSAGING) == 19


async def test_a_gap_that_the_server_knows_of_stops_appends_until_it_is_given_up(
    nats_server: NatsServer, streams: Client, log: Log, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(log, 20)
    await lose_the_end(nats_server, streams, tmp_path, notes=True)
    state = (await JetStream(streams).info(MESSAGING)).state
    assert (state.messages, state.last_seq) == (19, 20)
    owner, watch = watched(streams)
    with refused(caplog, "MESSAGING:20"):
        await owner.append(append_to("b"))
    running = asyncio.create_task(watch.run())
    await accept(JetStream(streams), [Gap(MESSAGING, 20, 20)], "an operator")
    async with asyncio.timeout(60):
        # Its process is to be started again, since it may remember what is lost.
        await running
    with pytest.raises(HistoryLost):
        await owner.append(append_to("b"))
    owner, _ = watched(streams)
    assert await owner.append(append_to("b")) == 21


async def test_a_whole_stream_takes_appends_after_every_restart(
    nats_server: NatsServer, streams: Client, tmp_path: Path
) -> None:
    owner, _ = watched(streams)
    await fill(owner, 20)
    for number in range(2):
        nats_server.kill()
        await nats_server.wait()
        await nats_server.start()
        assert await owner.append(append_to(f"after{number}")) == 21 + number


async def test_placeholders_that_are_lost_in_their_turn_are_not_written_over_either(streams: Client) -> None:
    owner, _ = watched(streams)
    await fill(owner, 20)
    # They went up to 30 when the decision was recorded, and a read model has applied them.
    await accept(JetStream(streams), [Gap(MESSAGING, 15, 30)], "an operator", filled=True)
    owner, _ = watched(streams, checkpoint=30)
    with pytest.raises(HistoryLost):
        await owner.append(append_to("b"))
    assert await owner.end_of(MESSAGING) == 20
    # Sequence 16, within the stream, stays accepted; what is after its end does not.
    config = (await JetStream(streams).info(MESSAGING)).config
    gaps = undecided(MESSAGING, StreamInfo(config, StreamState(18, 0, 1, 20, [4, 16])), 30)
    assert gaps == [Gap(MESSAGING, 4, 4), Gap(MESSAGING, 21, 30)]


async def test_an_acknowledgement_of_an_earlier_sequence_makes_the_next_append_look(
    streams: Client, caplog: pytest.LogCaptureFixture
) -> None:
    owner, watch = watched(streams)
    assert await owner.append(append_to("a")) == 1
    # As if a leader without it had come meanwhile, on a connection that was not lost.
    watch.acknowledged(7, 9)
    assert await owner.append(append_to("b")) == 2
    with refused(caplog, "MESSAGING:3-9"):
        await owner.append(append_to("c"))


async def test_streams_that_were_wiped_under_a_database_that_was_not_are_refused_with_a_clear_word(
    streams: Client, caplog: pytest.LogCaptureFixture
) -> None:
    owner, _ = watched(streams, checkpoint=42)
    with refused(caplog, "MESSAGING:1-42"):
        await owner.append(append_to("a"))


def info(
    *, messages: int, last: int, first: int = 1, deleted: list[int] | None = None, replicas: int = 1
) -> StreamInfo:
    return StreamInfo({"num_replicas": replicas}, StreamState(messages, 0, first, last, deleted))


async def test_on_a_cluster_a_loss_counts_when_it_is_reported_again(
    streams: Client, caplog: pytest.LogCaptureFixture
) -> None:
    clock = 100.0
    watch = LossWatch(streams, MESSAGING, Checkpoint().highest, clock=lambda: clock)
    await watch.check()
    short, whole = info(messages=7, last=7, replicas=3), info(messages=9, last=9, replicas=3)
    # From a leader without a quorum it does not even begin to count.
    watch._conclude(short, 9, counts=False)
    clock += 5
    watch._conclude(short, 9)
    with pytest.raises(Unavailable):
        await watch.assert_whole()
    clock += 4.9
    watch._conclude(short, 9)
    with pytest.raises(Unavailable):
        await watch.assert_whole()
    watch._conclude(whole, 9)
    await watch.assert_whole()
    watch._conclude(short, 9)
    clock += 5
    watch._conclude(short, 9)
    with refused(caplog, "MESSAGING:8-9"):
        await watch.assert_whole()


async def test_while_a_loss_is_not_confirmed_an_append_looks_again_after_a_second(streams: Client) -> None:
    clock = 100.0
    watch = LossWatch(streams, MESSAGING, Checkpoint().highest, clock=lambda: clock)
    await watch.check()
    watch._conclude(info(messages=7, last=7, replicas=3), 9)
    clock += 0.9
    with pytest.raises(Unavailable):
        await watch.assert_whole()
    clock += 0.1
    # The leader has all of the stream.
    await watch.assert_whole()


def test_what_a_stream_lacks_is_at_its_beginning_within_it_and_behind_its_end() -> None:
    assert lost("A", info(messages=9, last=9), 9) == []
    assert lost("A", info(messages=0, last=0, first=0), 0) == []
    gaps = lost("A", info(messages=4, last=9, first=3, deleted=[5, 6, 8]), 11)
    assert gaps == [Gap("A", 1, 2), Gap("A", 5, 6), Gap("A", 8, 8), Gap("A", 10, 11)]
    assert lost("A", info(messages=0, last=9, first=10), 9) == [Gap("A", 1, 9)]
