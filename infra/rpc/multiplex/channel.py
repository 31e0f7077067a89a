"""One replica of a service, called over one line that is opened when it is needed, and again when it was lost."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from grpclib import GRPCError, Status
from grpclib.client import Channel
from grpclib.client import Stream as ClientStream
from grpclib.const import Cardinality
from grpclib.exceptions import StreamTerminatedError

from contracts.errors import Invalid, Overloaded
from contracts.rpc.vestnik.calls.v1 import Answers, Calls
from infra.rpc.error_mapping import to_grpc
from infra.rpc.multiplex.messages import AUTHORIZATION, PATH
from infra.rpc.multiplex.stream import CallStream
from infra.rpc.transport.framing import LARGEST_MESSAGE
from infra.rpc.transport.protobuf_codec import StrictCodec

log = logging.getLogger(__name__)

# Seconds in which a line is open, or the replica is given up.
OPENING = 5.0
# Seconds without an attempt after one that failed: first and at most.
_FIRST_REST, _LONGEST_REST = 0.02, 0.5
# Seconds for which a replica that knows nothing of lines is called without one.
_OLDER = 30.0
_CODEC = StrictCodec()


class MultiplexedChannel:
    def __init__(self, channel: Channel, token: Callable[[], str]) -> None:
        """`token`: shows which service opens the line; each call brings its own besides."""
        # For calls that are not carried.
        self.channel = channel
        self._token = token
        self._line: CallStream | None = None
        self._opening: asyncio.Future[CallStream] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._rest = 0.0
        self._rest_until = 0.0
        self._older_until = 0.0

    async def unary(
        self, name: str, request: object, reply_type: type[Any], timeout: float, metadata: Mapping[str, str]
    ) -> Any:  # noqa: ANN401 - of the types that the method has
        """Makes one call on the line, which is opened where there is none. Raises what a call by itself does:

        Raises:
            TimeoutError: no answer in time.
            GRPCError: what the service answered.
            StreamTerminatedError: the line was lost; whether the call took effect is not known.
            OSError: the replica cannot be reached; the call was not sent.
        """
        encoded = _CODEC.encode(request, type(request))
        if len(encoded) > LARGEST_MESSAGE:
            # The service would end the line, and with it the calls of others.
            raise to_grpc(Invalid(f"The message is larger than {LARGEST_MESSAGE} bytes."), executed=True)
        if self._older_until and asyncio.get_running_loop().time() < self._older_until:
            return await self._by_itself(name, request, reply_type, timeout, metadata)
        try:
            line, left = self._line, timeout
            if line is None:
                line, left = await self._opened(timeout)
            if line.full:
                raise to_grpc(Overloaded(retry_after=1), executed=False)
            response = await line.ask(name, encoded, timeout=left, metadata=metadata)
        except GRPCError as error:
            if error.status is not Status.UNIMPLEMENTED:
                raise
            # The service is of a version that carries nothing, or not this method.
            return await self._by_itself(name, request, reply_type, timeout, metadata)
        return _CODEC.decode(response, reply_type)

    async def _by_itself(
        self, name: str, request: object, reply_type: type[Any], timeout: float, metadata: Mapping[str, str]
    ) -> Any:  # noqa: ANN401 - of the types that the method has
        """The same call without a line."""
        kind = type(request)
        async with self.channel.request(
            name, Cardinality.UNARY_UNARY, kind, reply_type, timeout=timeout, metadata=metadata
        ) as stream:
            await stream.send_message(request, end=True)
            return await stream.recv_message()

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self.channel.close()

    async def _opened(self, timeout: float) -> tuple[CallStream, float]:
        """A line, and how many of the seconds are left then."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self._opening is None:
            if loop.time() < self._rest_until:
                raise ConnectionRefusedError("the replica could not be reached a moment ago")
            self._opening = loop.create_future()
            task = loop.create_task(self._keep(self._opening))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        opening = self._opening
        # Others wait for it too: whoever waits no longer must not end it.
        await asyncio.wait((opening,), timeout=timeout)
        if not opening.done():
            raise ConnectionAbortedError("the replica does not answer")
        return opening.result(), max(timeout + began - loop.time(), 0.001)

    async def _keep(self, opening: "asyncio.Future[CallStream]") -> None:
        """Opens a line, and attends it until it ends."""
        line = CallStream(self._part_with)
        try:
            async with self.channel.request(
                PATH, Cardinality.STREAM_STREAM, Calls, Answers, metadata={AUTHORIZATION: f"Bearer {self._token()}"}
            ) as stream:
                await self._open(stream)
                self._line, self._opening, self._rest = line, None, 0.0
                opening.set_result(line)
                await line.attend(stream)
        except Exception as error:
            # Whatever ended it, its calls are told; what they do about it is theirs.
            self._failed(opening, error)
        finally:
            if self._line is line:
                self._line = None
            if self._opening is opening:
                self._opening = None
            if not opening.done():
                # This client is being closed.
                self._failed(opening, ConnectionAbortedError("the client was closed"))
            line.lose()

    async def _open(self, stream: ClientStream[Any, Any]) -> None:
        try:
            async with asyncio.timeout(OPENING):
                await stream.send_request()
                await stream.recv_initial_metadata()
        except TimeoutError as error:
            # Nobody answers on this connection, and TCP would take long to notice.
            self.channel.close()
            raise ConnectionAbortedError("the replica does not answer") from error

    def _failed(self, opening: "asyncio.Future[CallStream]", error: Exception) -> None:
        if not opening.done():
            self._pause()
            if isinstance(error, GRPCError) and error.status is Status.UNIMPLEMENTED:
                self._older_until = asyncio.get_running_loop().time() + _OLDER
            elif isinstance(error, StreamTerminatedError):
                # Nothing was sent on it but its opening.
                error = ConnectionResetError(str(error))
            opening.set_exception(error)
            opening.exception()  # marks it as seen: whoever waited for it may be gone
        elif not isinstance(error, StreamTerminatedError | OSError):
            log.warning("a line of calls was lost: %r", error)

    def _part_with(self, line: CallStream) -> None:
        """No more calls on this line: its replica stops, or may be gone."""
        if self._line is line:
            self._line = None
            self._pause()
        line.end()

    def _pause(self) -> None:
        self._rest = min(self._rest * 2 or _FIRST_REST, _LONGEST_REST)
        self._rest_until = asyncio.get_running_loop().time() + self._rest
