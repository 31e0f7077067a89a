"""Client side of a multiplexing stream to one replica: its calls, their deadlines and outcomes."""

import asyncio
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, NamedTuple

from grpclib.client import Stream as ClientStream
from grpclib.exceptions import StreamTerminatedError

from infra.rpc.multiplex import messages
from infra.rpc.multiplex.deadlines import Deadlines
from infra.rpc.multiplex.send_queue import SendQueue
from infra.rpc.multiplex.silence import SilenceWatch
from infra.rpc.transport.framing import read_frame
from infra.rpc.transport.pings import PingListener, Pings

# Calls in flight on one stream.
MOST_CALLS = 1_000
# Several times a page of the longest messages; no valid answer is larger.
_LARGEST_MESSAGE = 64 * 1024 * 1024


class ReplicaSilent(StreamTerminatedError):
    """The replica hangs or is gone; the call may be repeated at another one."""


class _Waiting(NamedTuple):
    answer: asyncio.Future[bytes]
    # Loop time at which the call was made.
    asked: float
    # Whether it may be made twice.
    repeatable: bool


class CallStream:
    def __init__(
        self, retire: "Callable[[CallStream], None]", silent: "Callable[[CallStream], None]" = lambda _: None
    ) -> None:
        """`retire`: called when the stream must take no new calls; those in flight go on.

        `silent`: called repeatedly while the replica is silent and calls wait.
        """
        self._retire = retire
        self._loop = asyncio.get_running_loop()
        self._outbox = SendQueue()
        self._numbers = count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._deadlines = Deadlines(self._expire)
        # Loop time of the last message received.
        self._last_answer_at = 0.0
        self._pings: Pings | None = None
        self._silence = SilenceWatch(self._ping, lambda: silent(self), lambda: bool(self._waiting))
        self._listener = PingListener(self._silence.on_received)

    @property
    def silent(self) -> bool:
        """Whether the replica has not answered for seconds, not even a PING."""
        return self._silence.silent

    @property
    def full(self) -> bool:
        return len(self._waiting) >= MOST_CALLS

    async def ask(
        self, method: str, request: bytes, *, timeout: float, metadata: Mapping[str, str], repeatable: bool = False
    ) -> bytes:
        """Makes one call. On a timeout or cancellation the call is withdrawn or, once sent, cancelled at the service.

        Raises:
            ReplicaSilent: the call is repeatable, and `fail_over` ended it.
            TimeoutError: no answer in time.
            GRPCError: what the service answered.
            StreamTerminatedError: the stream was lost; whether the call took effect is not known.
            ConnectionError: the stream was lost, or takes no new calls, before the call was sent.
        """
        if self._outbox.closed:
            # Between its opening and its first call.
            raise ConnectionResetError("the stream takes no new calls")
        number = next(self._numbers)
        waiting: asyncio.Future[bytes] = self._loop.create_future()
        if not self._waiting:
            self._silence.begin()
        self._waiting[number] = _Waiting(waiting, self._deadlines.set(number, timeout), repeatable)
        self._outbox.put(number, messages.call(number, method, request, timeout=timeout, metadata=metadata))
        try:
            return await waiting
        finally:
            self._deadlines.drop(number)
            if self._waiting.pop(number, None) is not None:
                self._give_up(number)
            if not waiting.cancelled():
                waiting.exception()  # marks it as retrieved: the caller may be gone

    async def attend(self, stream: ClientStream[Any, Any]) -> None:
        """Sends and receives until the stream ends.

        Raises:
            Exception: the error that ended it.
        """
        self._pings = Pings.of(stream._stream.connection)
        self._pings.listen(self._listener)
        sending = asyncio.create_task(self._send(stream))
        receiving = asyncio.create_task(self._receive(stream))
        try:
            done, _ = await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
            # No new calls are made; those in flight are still answered.
            await receiving
        finally:
            sending.cancel()
            receiving.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)

    def end(self) -> None:
        """Takes no more calls; the stream ends once those in flight are answered."""
        self._outbox.close()

    def fail_over(self) -> None:
        """Ends the repeatable calls that wait, so that they are made at another replica."""
        for waiting in self._waiting.values():
            if waiting.repeatable and not waiting.answer.done():
                waiting.answer.set_exception(ReplicaSilent("the replica does not answer"))

    def lose(self) -> None:
        """Fails every pending call: as not sent if it is still queued, as lost otherwise."""
        self._deadlines.stop()
        self._silence.stop()
        for number, waiting in self._waiting.items():
            if waiting.answer.done():
                continue
            if self._outbox.take_back(number):
                waiting.answer.set_exception(ConnectionResetError("the call was not sent"))
            else:
                waiting.answer.set_exception(StreamTerminatedError("the stream of calls was lost"))
        self._waiting.clear()

    def _ping(self) -> None:
        if self._pings is not None:
            self._pings.send()

    async def _send(self, stream: ClientStream[Any, Any]) -> None:
        await self._outbox.send_to(stream._stream)
        await stream.end()

    async def _receive(self, stream: ClientStream[Any, Any]) -> None:
        while True:
            with stream._wrapper:
                message = await read_frame(stream._stream, _LARGEST_MESSAGE)
            if message is None:
                raise StreamTerminatedError("the service ended the stream of calls")
            self._last_answer_at = self._loop.time()
            self._silence.on_received()
            answers, stopping = messages.read_answers(message)
            for answer in answers:
                self._take(answer)
            if stopping:
                self._retire(self)

    def _take(self, answer: messages.Answer) -> None:
        waiting = self._waiting.get(answer.id)
        if waiting is None or waiting.answer.done():
            return
        del self._waiting[answer.id]
        if answer.status:
            waiting.answer.set_exception(messages.failure(answer))
        else:
            waiting.answer.set_result(answer.response)

    def _expire(self, number: int) -> None:
        # A call that was answered keeps its deadline until its caller goes on.
        waiting = self._waiting.get(number)
        if waiting is None or waiting.answer.done():
            return
        waiting.answer.set_exception(TimeoutError())
        if self._last_answer_at < waiting.asked:
            # Either only this call is slow, or the replica is gone and TCP will take long to notice.
            self._retire(self)

    def _give_up(self, number: int) -> None:
        if not self._outbox.take_back(number):
            self._outbox.put(-number, messages.given_up(number))
