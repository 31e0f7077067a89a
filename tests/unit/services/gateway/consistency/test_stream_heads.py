"""Which positions can be: never refused on an answer that is older than the question, and asked little."""

import asyncio

import pytest

from contracts.errors import NoQuorum, Unavailable
from contracts.notification_kinds import NOTIFIED_MESSAGING
from contracts.positions import Position
from services.gateway.consistency.stream_heads import StreamHeads
from streams.jetstream.requests import NoResponders


class Streams:
    """Five messages in each stream; requests are answered when the test releases them."""

    def __init__(self) -> None:
        self.end = 5
        self.asked: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.fails = False

    async def ask(self, stream: str) -> int:
        self.asked.append(stream)
        end = self.end
        await self.answers.wait()
        if self.fails:
            raise NoResponders
        return end


def at(sequence: int, stream: str = "MESSAGING") -> Position:
    return Position.at(stream, sequence)


async def test_what_is_known_is_not_asked_for() -> None:
    streams = Streams()
    ends = StreamHeads(streams.ask)
    assert await ends.include(Position(), Position())
    assert await ends.include(Position({"AUTH": 3, "CONTACT": 2}), Position({"AUTH": 3, "CONTACT": 9}))
    assert streams.asked == []
    assert await ends.include(at(5), at(4))
    assert await ends.include(at(5), at(4))
    assert streams.asked == ["MESSAGING"]


async def test_what_lies_behind_a_streams_end_is_not_reached_until_the_stream_gets_there() -> None:
    streams = Streams()
    ends = StreamHeads(streams.ask)
    assert not await ends.include(at(6), at(5))
    streams.end = 6
    # Written through another gateway a moment ago.
    assert await ends.include(at(6), at(5))
    assert not await ends.include(Position({NOTIFIED_MESSAGING: 7}), at(5))
    assert await ends.include(Position({NOTIFIED_MESSAGING: 6}), at(5))


async def test_nothing_is_refused_on_the_word_of_a_node_that_may_be_cut_off() -> None:
    """The stream ends at 5 there; 6 was acknowledged by the others."""

    def confirm() -> None:
        raise NoQuorum(retry_after=5)

    streams = Streams()
    ends = StreamHeads(streams.ask, confirm=confirm)
    with pytest.raises(NoQuorum):
        await ends.include(at(6), at(4))
    assert await ends.include(at(5), at(4))


async def test_many_made_up_positions_share_a_question_and_a_true_one_among_them_is_not_refused() -> None:
    streams = Streams()
    ends = StreamHeads(streams.ask)
    streams.answers.clear()
    first = asyncio.create_task(ends.include(at(10**9), at(5)))
    while not streams.asked:
        await asyncio.sleep(0)
    streams.end = 6
    true = asyncio.create_task(ends.include(at(6), at(5)))
    made_up = [asyncio.create_task(ends.include(at(10**9), at(5))) for _ in range(100)]
    await asyncio.sleep(0)
    streams.answers.set()
    assert await true
    assert not any(await asyncio.gather(first, *made_up))
    assert len(streams.asked) == 2


async def test_while_nobody_can_tell_it_is_said_and_who_gives_up_leaves_no_false_answer() -> None:
    streams = Streams()
    ends = StreamHeads(streams.ask)
    streams.fails = True
    with pytest.raises(Unavailable):
        await ends.include(at(5), at(4))
    streams.fails = False
    streams.answers.clear()
    given_up = asyncio.create_task(ends.include(at(5), at(4)))
    while len(streams.asked) < 2:
        await asyncio.sleep(0.001)
    patient = asyncio.create_task(ends.include(at(5), at(4)))
    await asyncio.sleep(0)
    given_up.cancel()
    streams.answers.set()
    assert await patient
