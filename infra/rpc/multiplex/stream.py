"""Client side of a multiplexing stream to one replica: its calls, their deadlines and outcomes."""

import asyncio
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from grpclib.client import Stream as ClientStream
from grpclib.exceptions import StreamTerminatedError

from infra.rpc.multiplex import messages
from infra.rpc.multiplex.deadlines import Deadlines
from infra.rpc.multiplex.send_queue import SendQueue
from infra.rpc.transport.framing import read_frame

# Calls in flight on one stream.
MOST_CALLS = 1_000
# Several times a page of the longest messages; no valid answer is larger.
_LARGEST_MESSAGE = 64 * 1024 * 1024
_NOBODY = None, 0.0


class CallStream:
    def __init__(self, part_with: "Callable[[CallStream], None]") -> None:
        """`part_with`: called when the stream must take no new calls; those in flight go on."""
        self._part_with = part_with
        self._loop = asyncio.get_running_loop()
        self._outbox = SendQueue()
        self._numbers = count(1)
        # With the loop time at which each call was made.
        self._waiting: dict[int, tuple[asyncio.Future[bytes], float]] = {}
        self._deadlines = Deadlines(self._expire)
        # Loop time of the last message received.
        self._heard = 0.0

    @property
    def full(self) -> bool:
        return len(self._waiting) >= MOST_CALLS

    async def ask(self, method: str, request: bytes, *, timeout: float, metadata: Mapping[str, str]) -> bytes:
        """Makes one call. On a timeout or cancellation the call is withdrawn or, once sent, cancelled at the service.

        Raises:
            TimeoutError: no answer in time.
            GRPCError: what the service answered.
            StreamTerminatedError: the stream was lost; whether the call took effect is not known.
            ConnectionError: the stream was lost before the call was sent.
        """
        number = next(self._numbers)
        waiting: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[number] = waiting, self._deadlines.set(number, timeout)
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

    def lose(self) -> None:
        """Fails every pending call: as not sent if it is still queued, as lost otherwise."""
        self._deadlines.stop()
        for number, (waiting, _) in self._waiting.items():
            if waiting.done():
                continue
            if self._outbox.take_back(number):
                waiting.set_exception(ConnectionResetError("the call was not sent"))
            else:
                waiting.set_exception(StreamTerminatedError("the stream of calls was lost"))
        self._waiting.clear()

    async def _send(self, stream: ClientStream[Any, Any]) -> None:
        await self._outbox.send_to(stream._stream)
        await stream.end()

    async def _receive(self, stream: ClientStream[Any, Any]) -> None:
        while True:
            with stream._wrapper:
                message = await read_frame(stream._stream, _LARGEST_MESSAGE)
            if message is None:
                raise StreamTerminatedError("the service ended the stream of calls")
            self._heard = self._loop.time()
            answers, stopping = messages.read_answers(message)
            for answer in answers:
                self._take(answer)
            if stopping:
                self._part_with(self)

    def _take(self, answer: messages.Answer) -> None:
        waiting, _ = self._waiting.pop(answer.id, _NOBODY)
        if waiting is None or waiting.done():
            return
        if answer.status:
            waiting.set_exception(messages.failure(answer))
        else:
            waiting.set_result(answer.response)

    def _expire(self, number: int) -> None:
        waiting, asked = self._waiting[number]
        if waiting.done():
            return
        waiting.set_exception(TimeoutError())
        if self._heard < asked:
            # Either only this call is slow, or the replica is gone and TCP will take long to notice.
            self._part_with(self)

    def _give_up(self, number: int) -> None:
        if not self._outbox.take_back(number):
            self._outbox.put(-number, messages.given_up(number))
