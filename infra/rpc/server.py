"""gRPC server: each call is authenticated, authorized, and bounded in time, size and number, multiplexed or not."""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Protocol

import msgspec
from grpclib import GRPCError
from grpclib.const import Cardinality, Handler
from grpclib.encoding.proto import ProtoStatusDetailsCodec
from grpclib.exceptions import StreamTerminatedError
from grpclib.health.check import ServiceStatus
from grpclib.health.service import Health

from contracts.deadlines import REQUEST
from contracts.errors import Forbidden, Invalid, Unavailable, VestnikError
from contracts.rpc.vestnik.calls.v1 import Answers, Calls
from contracts.services import Callers, permitted_callers
from contracts.tracing.spans import Span
from infra.rpc.authorization import CallAuthorizer, check_user, failure_of
from infra.rpc.call_context import TRACEPARENT, Call, enter
from infra.rpc.call_spans import end_server_span, server_span
from infra.rpc.error_mapping import to_grpc
from infra.rpc.multiplex.messages import PATH
from infra.rpc.multiplex.server import CallServer, Method
from infra.rpc.reflection import with_reflection
from infra.rpc.transport.connection_limits import BOUNDS, BoundedServer
from infra.rpc.transport.framing import Stream, receive
from infra.rpc.transport.in_flight import InFlightCalls
from infra.rpc.transport.protobuf_codec import StrictCodec
from infra.security.secrets import Secrets

log = logging.getLogger(__name__)

# Seconds; for a call without a deadline or with a longer one.
LONGEST_CALL = REQUEST
# Seconds that multiplexing streams stay open after the last call of a stopping process: new calls may be in transit.
_GRACE = 1.0


class Servable(Protocol):
    def __mapping__(self) -> Mapping[str, Handler]: ...


class RpcServer:
    """A service's gRPC server with health and reflection."""

    def __init__(self, service: str, handlers: Collection[Servable], *, secrets: Secrets) -> None:
        """
        Raises:
            LookupError: contracts/services.py lists no callers for one of the methods.
        """
        self._service = service
        self._guard = CallAuthorizer(service, secrets)
        self._health = ServiceStatus()
        self._at_work = InFlightCalls()
        self._streams: set[CallServer] = set()
        mappings = [servicer.__mapping__() for servicer in handlers]
        self._methods = {
            path: Method(handler, permitted_callers(path))
            for mapping in mappings
            for path, handler in mapping.items()
            if handler.cardinality is Cardinality.UNARY_UNARY
        }
        self._parties = {party for mapping in mappings for path in mapping for party in permitted_callers(path)}
        guarded = [
            _Served({path: self._guarded(path, handler) for path, handler in mapping.items()}) for mapping in mappings
        ]
        carrying = _Served({PATH: Handler(self._carry, Cardinality.STREAM_STREAM, Calls, Answers)})
        # Health and reflection need no credential: they expose no data.
        health = Health({servicer: [self._health] for servicer in guarded})
        public = [
            _Served(_bounded(servicer))
            for servicer in with_reflection([*guarded, carrying, health])[len(guarded) + 1 :]
        ]
        self._server = BoundedServer(
            [*guarded, carrying, *public],
            guarded={PATH, *(path for mapping in mappings for path in mapping)},
            codec=StrictCodec(),
            status_details_codec=ProtoStatusDetailsCodec(),
            config=BOUNDS,
        )

    async def start(
        self, host: str, port: int, *, shared: bool = False, tls_context: ssl.SSLContext | None = None
    ) -> None:
        """Starts listening; health is NOT_SERVING until `set_ready`. `shared`: another process holds the port."""
        await self._server.listen(host, port, shared=shared, tls=tls_context)

    def set_ready(self, ready: bool) -> None:
        self._health.set(ready and not self._at_work.stopping)

    async def drain(self, seconds: float) -> None:
        """Refuses new calls, waits up to `seconds` for those in flight, then stops."""
        self._at_work.stopping = True
        self._health.set(False)
        for stream in self._streams:
            stream.announce_stop()
        try:
            async with asyncio.timeout(seconds):
                await self._at_work.done()
                await self._streams_ended()
        except TimeoutError:
            log.warning("stopping with %d calls unfinished", self._at_work.count)
        self._server.close()
        await self._server.wait_closed()

    async def _streams_ended(self) -> None:
        """Waits until the callers have ended their streams, for `_GRACE` seconds at most."""
        waits = [asyncio.create_task(stream.ended.wait()) for stream in self._streams]
        if not waits:
            return
        try:
            await asyncio.wait(waits, timeout=_GRACE)
        finally:
            for wait in waits:
                wait.cancel()

    def _guarded(self, path: str, handler: Handler) -> Handler:
        func: Callable[[Stream], Awaitable[None]] = handler.func
        callers = permitted_callers(path)
        single = handler.cardinality in (Cardinality.UNARY_UNARY, Cardinality.UNARY_STREAM)

        async def guarded(stream: Stream) -> None:
            try:
                self._at_work.enter()
            except VestnikError as error:
                raise to_grpc(error, executed=False) from None
            metadata: Mapping[str, object] = stream.metadata or {}
            span = server_span(str(metadata.get(TRACEPARENT) or ""), path)
            failure: BaseException | None = None
            try:
                await self._call(func, stream, callers, single, span)
            except (GRPCError, StreamTerminatedError, asyncio.CancelledError) as error:
                failure = error
                raise
            except Exception as error:
                failure = refusal = failure_of(error, path)
                raise refusal from error
            finally:
                self._at_work.leave()
                if span is not None:
                    end_server_span(span, failure)

        return handler._replace(func=guarded)

    async def _call(
        self,
        func: Callable[[Stream], Awaitable[None]],
        stream: Stream,
        callers: Callers,
        single: bool,
        span: Span | None,
    ) -> None:
        credential = self._guard.authenticate_stream(stream)
        field = self._guard.user_field(credential, callers)
        limit = LONGEST_CALL if stream.deadline is None else min(stream.deadline.time_remaining(), LONGEST_CALL)
        call = Call.from_metadata(stream.metadata or {}, credential.service, credential.user, credential.session)
        traceparent = call.traceparent if span is None else span.traceparent
        enter(msgspec.structs.replace(call, traceparent=traceparent, deadline=time.monotonic() + limit))
        _check_messages(stream, field, credential.user, single)
        async with asyncio.timeout(LONGEST_CALL):
            await func(stream)

    async def _carry(self, stream: Stream) -> None:
        """Serves a multiplexing stream; it does not count as a call in flight, but each call on it does."""
        if self._at_work.stopping:
            raise to_grpc(Unavailable("This process is stopping."), executed=False)
        carried: CallServer | None = None
        try:
            party = self._guard.authenticate_stream(stream).service
            if party not in self._parties:
                raise Forbidden(f"{party} may not call {self._service}.")
            carried = CallServer(stream, party, self._methods, self._guard, self._at_work, LONGEST_CALL)
            self._streams.add(carried)
            await carried.serve()
        except (GRPCError, StreamTerminatedError):
            raise
        except Exception as error:
            raise failure_of(error, PATH) from error
        finally:
            if carried is not None:
                self._streams.discard(carried)


def _bounded(service: Servable) -> dict[str, Handler]:
    """The methods of a service that needs no credential, with bounded messages and a time limit on unary calls."""
    methods = service.__mapping__()
    return {path: handler._replace(func=_bounded_call(path, handler)) for path, handler in methods.items()}


def _bounded_call(path: str, handler: Handler) -> Callable[[Stream], Awaitable[None]]:
    limit = LONGEST_CALL if handler.cardinality is Cardinality.UNARY_UNARY else None

    async def bounded(stream: Stream) -> None:
        _check_messages(stream, None, None, handler.cardinality is not Cardinality.STREAM_STREAM)
        try:
            async with asyncio.timeout(limit):
                await handler.func(stream)
        except (GRPCError, StreamTerminatedError):
            raise
        except Exception as error:
            raise failure_of(error, path) from error

    return bounded


def _check_messages(stream: Stream, field: str | None, user: str | None, single: bool) -> None:
    """Checks every message before the handler receives it: its frame, and the user that it names."""

    async def checked() -> object:
        message = await receive(stream)
        if message is None:
            if single:
                raise Invalid("There is no message in the call.")
            return None
        check_user(message, field, user)
        return message

    stream.recv_message = checked  # type: ignore[method-assign]  # the one place where a message comes in


class _Served:
    def __init__(self, mapping: Mapping[str, Handler]) -> None:
        self._mapping = dict(mapping)

    def __mapping__(self) -> Mapping[str, Handler]:
        return self._mapping
