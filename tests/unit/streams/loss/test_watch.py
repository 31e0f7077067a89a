"""When a watch asks for the state of its stream."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from contracts.errors import HistoryLost
from streams.jetstream.api import StreamInfo, StreamState
from streams.loss.watch import LossWatch, undecided


class Leader:
    """A leader that reports the stream's state at the time of the request; the answer arrives later."""

    def __init__(self) -> None:
        self.end = 9
        self.asked = 0
        self.watch: LossWatch | None = None

    async def info(self, stream: str, *, deleted: bool = False) -> StreamInfo:
        answer = StreamInfo({"num_replicas": 1}, StreamState(self.end, 0, 1, self.end))
        self.asked += 1
        if self.asked == 2:
            # The stream loses its end, and what is appended then is acknowledged before the answer is read.
            self.end = 8
            assert self.watch is not None
            self.watch.acknowledged(8, 8)
        return answer


async def nothing_applied() -> int:
    return 0


async def test_an_acknowledgement_during_a_check_causes_another() -> None:
    leader = Leader()
    nats = SimpleNamespace(stats={"reconnects": 0}, is_connected=True)
    leader.watch = watch = LossWatch(cast(Any, nats), "MESSAGING", nothing_applied)
    watch._jetstream = cast(Any, leader)
    watch.acknowledged(1, 9)
    await watch.assert_whole()
    await watch.check()
    with pytest.raises(HistoryLost):
        await watch.assert_whole()


def test_an_empty_stream_lacks_no_event() -> None:
    # As NATS reports an empty stream when it is asked for the deleted sequences.
    info = StreamInfo({}, StreamState(messages=0, first_seq=0, last_seq=0, deleted=[0]))
    assert undecided("MESSAGING", info, 0) == []
