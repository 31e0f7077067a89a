"""Channel to one replica of a service: a multiplexing stream, opened on demand and reopened after a loss."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from grpclib import GRPCError
from grpclib.client import Channel
from grpclib.client import Stream as ClientStream
from grpclib.const import Cardinality
from grpclib.exceptions import StreamTerminatedError

from contracts.errors import Invalid, Overloaded, error_text
from contracts.rpc.vestnik.calls.v1 import Answers, Calls
from infra.rpc.error_mapping import to_grpc
from infra.rpc.multiplex.messages import AUTHORIZATION, PATH
from infra.rpc.multiplex.stream import CallStream
from infra.rpc.transport.framing import LARGEST_MESSAGE
from infra.rpc.transport.protobuf_codec import StrictCodec

log = logging.getLogger(__name__)

# Seconds within which a stream must open; otherwise the replica counts as unreachable.
OPENING = 5.0
# Seconds that a call waits for that if there is another replica.
_PATIENCE = 1.5
# Backoff after a failed attempt to open a stream, seconds: initial and maximum.
_FIRST_REST, _LONGEST_REST = 0.02, 0.5
_CODEC = StrictCodec()


class MultiplexedChannel:
    def __init__(
        self,
        channel: Channel,
        token: Callable[[], str],
        *,
        proven: bool = True,
        has_alternative: Callable[[], bool] = lambda: False,
    ) -> None:
        """`token`: returns the token that authenticates the stream; each call has its own in addition.

        `has_alternative`: whether another replica is usable.
        `proven`: false keeps the replica from counting as usable before its stream has opened for the first time.
        """
        # For streaming calls, which are not multiplexed.
        self.channel = channel
        self._token = token
        self._has_alternative = has_alternative
        self._line: CallStream | None = None
        self._opening: asyncio.Future[CallStream] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._rest = 0.0
        self._rest_until = 0.0
        # Whether the last attempt to open a stream failed, or the last stream was lost.
        self._failing = not proven

    def usable(self) -> bool:
        """Whether nothing is known against the replica; if something is, a new stream is tried in the background."""
        if self._line is None and self._failing:
            if self._opening is None and asyncio.get_running_loop().time() >= self._rest_until:
                self._start()
            return False
        return self._line is None or not self._line.silent

    async def unary(
        self,
        name: str,
        request: object,
        reply_type: type[Any],
        timeout: float,
        metadata: Mapping[str, str],
        *,
        repeatable: bool = False,
    ) -> Any:  # noqa: ANN401 - of the types that the method has
        """Makes one call on the stream, opening it if there is none; raises what a call on its own stream does.

        `repeatable`: the call may be made twice; it ends when the replica is silent and there is another one.

        Raises:
            TimeoutError: no answer in time.
            GRPCError: what the service answered.
            StreamTerminatedError: the stream was lost; whether the call took effect is not known.
            OSError: the replica cannot be reached; the call was not sent.
        """
        encoded = _CODEC.encode(request, type(request))
        if len(encoded) > LARGEST_MESSAGE:
            # The service would end the stream, and with it all other calls on it.
            raise to_grpc(Invalid(f"The message is larger than {LARGEST_MESSAGE} bytes."), executed=True)
        line, left = self._line, timeout
        if line is None:
            line, left = await self._opened(timeout)
        if line.full:
            raise to_grpc(Overloaded(retry_after=1), executed=False)
        answer = await line.ask(name, encoded, timeout=left, metadata=metadata, repeatable=repeatable)
        return _CODEC.decode(answer, reply_type)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self.channel.close()

    async def _opened(self, timeout: float) -> tuple[CallStream, float]:
        """Waits for an open stream; returns it and the seconds left of `timeout`.

        Raises:
            OSError: the stream did not open in time, or the attempt failed, now or a moment ago.
            GRPCError: the service refused the stream.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self._opening is None and loop.time() < self._rest_until:
            raise ConnectionRefusedError("the replica was unreachable a moment ago")
        opening = self._opening or self._start()
        # Other calls wait for the same future: a timeout here must not cancel it.
        await asyncio.wait((opening,), timeout=min(timeout, _PATIENCE))
        if not opening.done() and self._has_alternative():
            self._failing = True
            raise ConnectionAbortedError("the replica does not answer, and there is another one")
        if not opening.done():
            await asyncio.wait((opening,), timeout=max(timeout + began - loop.time(), 0.0))
        if not opening.done():
            raise ConnectionAbortedError("the replica does not answer")
        return opening.result(), max(timeout + began - loop.time(), 0.001)

    def _start(self) -> "asyncio.Future[CallStream]":
        loop = asyncio.get_running_loop()
        opening = self._opening = loop.create_future()
        task = loop.create_task(self._keep(opening))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return opening

    async def _keep(self, opening: "asyncio.Future[CallStream]") -> None:
        """Opens a stream and runs it until it ends."""
        line = CallStream(self._retire, self._fail_over)
        try:
            async with self.channel.request(
                PATH, Cardinality.STREAM_STREAM, Calls, Answers, metadata={AUTHORIZATION: f"Bearer {self._token()}"}
            ) as stream:
                await self._open(stream)
                self._line, self._opening, self._rest, self._failing = line, None, 0.0, False
                opening.set_result(line)
                await line.attend(stream)
        except Exception as error:
            # Whatever ended it, its calls fail below; each caller decides what to do.
            self._failed(opening, error)
        finally:
            if self._line is line:
                self._line, self._failing = None, True
            if self._opening is opening:
                self._opening = None
            if not opening.done():
                # The client is being closed.
                self._failed(opening, ConnectionAbortedError("the client was closed"))
            line.lose()

    async def _open(self, stream: ClientStream[Any, Any]) -> None:
        try:
            async with asyncio.timeout(OPENING):
                await stream.send_request()
                await stream.recv_initial_metadata()
        except TimeoutError as error:
            # The connection is dead, and TCP would take long to notice.
            self.channel.close()
            raise ConnectionAbortedError("the replica does not answer") from error

    def _failed(self, opening: "asyncio.Future[CallStream]", error: Exception) -> None:
        if not opening.done():
            self._pause()
            if not isinstance(error, GRPCError | OSError):
                # Nothing but its headers was sent on it. The library raises various errors when the connection ends.
                error = ConnectionResetError(error_text(error))
            opening.set_exception(error)
            opening.exception()  # marks it as retrieved: every waiter may be gone
        elif not isinstance(error, StreamTerminatedError | OSError):
            log.warning("a stream of calls was lost: %r", error)

    def _retire(self, line: CallStream) -> None:
        """Takes the stream out of use for new calls: its replica is stopping or may be gone."""
        if self._line is line:
            self._line = None
            self._pause()
        line.end()

    def _fail_over(self, line: CallStream) -> None:
        if self._has_alternative():
            line.fail_over()

    def _pause(self) -> None:
        self._failing = True
        self._rest = min(self._rest * 2 or _FIRST_REST, _LONGEST_REST)
        self._rest_until = asyncio.get_running_loop().time() + self._rest
