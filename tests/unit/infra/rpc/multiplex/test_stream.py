"""The parts of a stream of calls by themselves: what goes out together, and when calls are over."""

import asyncio
from typing import Any, cast

import pytest
from grpclib import Status
from grpclib.exceptions import StreamTerminatedError
from h2.exceptions import StreamClosedError

from contracts.errors import Invalid, UserNotFound, Violation
from infra.rpc.error_mapping import from_grpc, to_grpc
from infra.rpc.multiplex import messages, send_queue, silence
from infra.rpc.multiplex.deadlines import Deadlines
from infra.rpc.multiplex.send_queue import SendQueue
from infra.rpc.multiplex.stream import CallStream

WITHIN = 60.0


class Stream:
    """Records what is sent; accepts the first message only when released."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.open = asyncio.Event()
        self.open.set()

    async def send_data(self, data: bytes) -> None:
        await self.open.wait()
        assert int.from_bytes(data[1:5], "big") == len(data) - 5
        self.messages.append(data[5:])


async def sent(queue: SendQueue, stream: Stream) -> list[bytes]:
    queue.close()
    async with asyncio.timeout(WITHIN):
        await queue.send_to(cast(Any, stream))
    return stream.messages


async def test_what_is_ready_together_goes_out_as_one_message() -> None:
    queue = SendQueue()
    for number in range(5):
        queue.put(number, b"%d" % number)
    assert await sent(queue, Stream()) == [b"01234"]


async def test_a_withdrawn_message_is_not_sent() -> None:
    queue = SendQueue()
    for number in range(3):
        queue.put(number, b"%d" % number)
    assert queue.take_back(1)
    assert not queue.take_back(1)
    assert await sent(queue, Stream()) == [b"02"]
    assert not queue.take_back(0)


async def test_a_message_is_not_larger_than_it_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send_queue, "_LARGEST", 10)
    queue = SendQueue()
    for number, length in enumerate((4, 4, 4, 30, 1, 1)):
        queue.put(number, b"%d" % number * length)
    assert [len(message) for message in await sent(queue, Stream())] == [8, 4, 30, 2]


async def test_a_full_queue_has_room_again_after_it_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send_queue, "_MOST", 10)
    queue, stream = SendQueue(), Stream()
    stream.open.clear()
    queue.put(1, b"x" * 11)
    waiting_for_room = asyncio.create_task(queue.room())
    sending = asyncio.create_task(sent(queue, stream))
    await asyncio.sleep(0)
    assert not waiting_for_room.done()
    stream.open.set()
    async with asyncio.timeout(WITHIN):
        await waiting_for_room
        assert await sending == [b"x" * 11]


async def test_a_stream_that_was_reset_ends_the_sending() -> None:
    class Closed(Stream):
        async def send_data(self, data: bytes) -> None:
            raise StreamClosedError(1)

    queue = SendQueue()
    queue.put(1, b"x")
    with pytest.raises(StreamTerminatedError):
        await sent(queue, Closed())


async def test_calls_are_over_in_the_order_of_their_deadlines_and_those_that_have_ended_never() -> None:
    over: list[int] = []
    deadlines = Deadlines(over.append)
    for number, seconds in ((2, 0.1), (1, 0.3), (3, 60.0), (4, 0.05)):
        deadlines.set(number, seconds)
    deadlines.drop(4)
    async with asyncio.timeout(WITHIN):
        while len(over) < 2:
            await asyncio.sleep(0.01)
    assert over == [2, 1]
    deadlines.stop()
    assert deadlines._timer is None
    deadlines.set(5, 0.01)
    async with asyncio.timeout(WITHIN):
        while len(over) < 3:
            await asyncio.sleep(0.01)
    assert over == [2, 1, 5]


async def test_an_answer_at_the_last_moment_leaves_the_other_calls_their_deadlines() -> None:
    stream = CallStream(lambda _: None)
    answered = asyncio.create_task(stream.ask("/p.S/M", b"", timeout=0.0, metadata={}))
    unanswered = asyncio.create_task(stream.ask("/p.S/M", b"", timeout=0.1, metadata={}))
    await asyncio.sleep(0)
    (answer,), _ = messages.read_answers(messages.answer(1, b"a"))
    stream._take(answer)
    # The deadline comes before the caller's turn.
    stream._deadlines._check()
    async with asyncio.timeout(WITHIN):
        assert await answered == b"a"
        with pytest.raises(TimeoutError):
            await unanswered


def test_parts_in_a_row_are_read_as_one_message() -> None:
    metadata = {
        "authorization": "Bearer t",
        "x-request-id": "r",
        "x-correlation-id": "c",
        "traceparent": "00-a-b-01",
        "vestnik-position": "p",
    }
    parts = [messages.call(number, "/p.S/M", b"q%d" % number, timeout=1.5, metadata=metadata) for number in (1, 2)]
    calls, given_up = messages.read_calls(parts[0] + messages.given_up(7) + parts[1])
    assert [(call.id, call.method, call.request, call.timeout) for call in calls] == [
        (1, "/p.S/M", b"q1", 1_500),
        (2, "/p.S/M", b"q2", 1_500),
    ]
    assert list(given_up) == [7]
    contexts = [
        (call.authorization, call.request_id, call.correlation_id, call.traceparent, call.position) for call in calls
    ]
    assert contexts == [("Bearer t", "r", "c", "00-a-b-01", "p")] * 2


def test_an_error_comes_back_as_it_was() -> None:
    raised = Invalid("no", violations=(Violation("/text", "too long"),), retry_after=3, members={"why": "länge"})
    answers, stopping = messages.read_answers(
        messages.refusal(1, to_grpc(raised)) + messages.answer(2, b"a") + messages.STOPPING
    )
    refused, accepted = answers
    error = from_grpc(messages.failure(refused))
    assert (type(error), error.detail, error.violations, error.retry_after) == (Invalid, "no", raised.violations, 3)
    assert error.members == from_grpc(to_grpc(raised, executed=False)).members == {"why": "länge"}
    assert (accepted.id, accepted.response, accepted.status) == (2, b"a", Status.OK.value)
    assert stopping
    (unknown,), stopping = messages.read_answers(messages.refusal(3, to_grpc(UserNotFound())))
    assert isinstance(from_grpc(messages.failure(unknown)), UserNotFound)
    assert not stopping


@pytest.mark.parametrize("rubbish", [b"\xff", b"\x0a\x05abc", b"\x0a\xff\xff\xff\xff\x0f"])
def test_bytes_that_are_no_message_are_refused(rubbish: bytes) -> None:
    with pytest.raises(Invalid):
        messages.read_calls(rubbish)
    with pytest.raises(Invalid):
        messages.read_answers(rubbish)


async def test_a_stream_that_takes_no_new_calls_refuses_them_as_not_sent() -> None:
    stream = CallStream(lambda _: None)
    stream.end()
    async with asyncio.timeout(WITHIN):
        with pytest.raises(ConnectionResetError):
            await stream.ask("/p.S/M", b"", timeout=2 * WITHIN, metadata={})


async def test_a_ping_that_cannot_be_sent_ends_no_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("closed")

    monkeypatch.setattr(silence, "_PING_AFTER", 0.0)
    monkeypatch.setattr(silence, "_ANSWER_WITHIN", 0.0)
    silent = asyncio.Event()
    watch = silence.SilenceWatch(fail, silent.set, lambda: True)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    watch.begin()
    async with asyncio.timeout(WITHIN):
        await silent.wait()
    watch.stop()
