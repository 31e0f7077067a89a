"""Server side of a multiplexing stream: each call is a task of its own, checked like a call on its own stream."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from grpclib import GRPCError, Status
from grpclib.const import Handler

from contracts.errors import DeadlineExceeded, Invalid, VestnikError
from contracts.positions import Position
from contracts.services import Callers
from contracts.values.ids import new_id
from infra.rpc.authorization import CallAuthorizer, check_user, failure_of
from infra.rpc.call_context import Call, enter
from infra.rpc.call_spans import end_server_span, server_span
from infra.rpc.error_mapping import to_grpc
from infra.rpc.multiplex import messages
from infra.rpc.multiplex.deadlines import Deadlines
from infra.rpc.multiplex.send_queue import SendQueue
from infra.rpc.transport.framing import LARGEST_MESSAGE, Stream, read_frame
from infra.rpc.transport.in_flight import InFlightCalls
from infra.rpc.transport.protobuf_codec import StrictCodec

# A message of maximum size plus the call's other fields.
_LARGEST_FRAME = LARGEST_MESSAGE + 256 * 1024
# Queue key of the stopping notice; no call has this number.
_NOTICE = 0
_CODEC = StrictCodec()


class Method(NamedTuple):
    handler: Handler
    callers: Callers


class CallServer:
    """Serves the calls of one stream."""

    def __init__(
        self,
        stream: Stream,
        party: str,
        methods: Mapping[str, Method],
        guard: CallAuthorizer,
        at_work: InFlightCalls,
        longest: float,
    ) -> None:
        """`party`: the service that opened the stream. `longest`: time limit of a call, in seconds."""
        self._stream = stream
        self._party = party
        self._methods = methods
        self._guard = guard
        self._at_work = at_work
        self._longest = longest
        # Kept, since asyncio makes a system call (getpid) at each lookup.
        self._loop = asyncio.get_running_loop()
        self._outbox = SendQueue()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._deadlines = Deadlines(self._expire)
        self._overdue: set[int] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.ended = asyncio.Event()

    async def serve(self) -> None:
        """Serves until the caller has ended the stream and every call is answered.

        Raises:
            Invalid: a message is malformed or a call number is used twice; calls in flight are cancelled.
        """
        await self._stream.send_initial_metadata()
        sending = asyncio.create_task(self._outbox.send_to(self._stream._stream))
        receiving = asyncio.create_task(self._receive())
        try:
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending
            await receiving
            await self._idle.wait()
            self._outbox.close()
            await sending
        except asyncio.CancelledError:
            # Cut off with calls in flight: after the reset their callers need not wait for the deadlines.
            if self._stream._stream.closable:
                self._stream._stream.reset_nowait()
            raise
        finally:
            ending = [sending, receiving, *self._tasks.values()]
            for task in ending:
                task.cancel()
            self._deadlines.stop()
            await asyncio.gather(*ending, return_exceptions=True)
            self.ended.set()

    def announce_stop(self) -> None:
        """Notifies the caller of the stop: it uses another replica, and ends this stream once it has all answers."""
        self._outbox.put(_NOTICE, messages.STOPPING)

    async def _receive(self) -> None:
        while True:
            await self._outbox.room()
            message = await read_frame(self._stream._stream, _LARGEST_FRAME)
            if message is None:
                return
            calls, given_up = messages.read_calls(message)
            for call in calls:
                self._begin(call)
            for number in given_up:
                task = self._tasks.get(number)
                if task is not None:
                    task.cancel()

    def _begin(self, call: messages.Call) -> None:
        number = call.id
        if number in self._tasks or number < 1:
            raise Invalid("The number of a call is used twice, or is invalid.")
        try:
            self._at_work.enter()
        except VestnikError as error:
            self._outbox.put(number, messages.refusal(number, to_grpc(error, executed=False)))
            return
        task = self._loop.create_task(self._answer(call))
        self._tasks[number] = task
        self._deadlines.set(number, self._limit(call))
        self._idle.clear()
        task.add_done_callback(lambda _: self._ended(number))

    def _limit(self, call: messages.Call) -> float:
        return min(call.timeout / 1_000 or self._longest, self._longest)

    def _ended(self, number: int) -> None:
        self._at_work.leave()
        self._deadlines.drop(number)
        self._overdue.discard(number)
        del self._tasks[number]
        if not self._tasks:
            self._idle.set()

    def _expire(self, number: int) -> None:
        self._overdue.add(number)
        self._tasks[number].cancel()

    async def _answer(self, call: messages.Call) -> None:
        span = server_span(call.traceparent, call.method)
        failure: BaseException | None = None
        try:
            traceparent = call.traceparent if span is None else span.traceparent
            part = messages.answer(call.id, await self._perform(call, traceparent))
        except asyncio.CancelledError as cancelled:
            failure = cancelled
            task = asyncio.current_task()
            if call.id not in self._overdue and task is not None and task.cancelling():
                # The caller no longer waits for it.
                raise
            # Its time is over, or something that it waited for was cancelled: its caller would wait in vain.
            failure = refusal = to_grpc(DeadlineExceeded())
            part = messages.refusal(call.id, refusal)
        except Exception as error:
            failure = refusal = failure_of(error, call.method)
            part = messages.refusal(call.id, refusal)
        finally:
            if span is not None:
                end_server_span(span, failure)
        self._outbox.put(call.id, part)

    async def _perform(self, call: messages.Call, traceparent: str) -> bytes:
        credential = self._guard.authenticate_call(call.authorization, self._party)
        method = self._methods.get(call.method)
        if method is None:
            raise GRPCError(Status.UNIMPLEMENTED, "There is no such call here.")
        handler, callers = method
        field = self._guard.user_field(credential, callers)
        enter(
            Call(
                request_id=call.request_id or new_id(),
                correlation_id=call.correlation_id,
                traceparent=traceparent or None,
                position=Position.decode(call.position),
                actor=credential.user,
                caller=credential.service,
                session=credential.session,
                deadline=time.monotonic() + self._limit(call),
            )
        )
        if len(call.request) > LARGEST_MESSAGE:
            raise Invalid(f"The message is larger than {LARGEST_MESSAGE} bytes.")
        message = _CODEC.decode(call.request, handler.request_type)
        check_user(message, field, credential.user)
        running = _One(message)
        func: Callable[[Any], Awaitable[None]] = handler.func
        await func(running)
        return _CODEC.encode(running.answer, handler.reply_type)


class _One:
    """The part of a server stream's interface that generated unary methods use."""

    __slots__ = ("_message", "answer")

    def __init__(self, message: object) -> None:
        self._message = message
        self.answer: Any = None

    async def recv_message(self) -> object:
        return self._message

    async def send_message(self, message: object) -> None:
        self.answer = message
