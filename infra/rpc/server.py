"""Serving gRPC: every call is authenticated, bounded in time and number, and its errors are mapped once, here."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Protocol

from grpclib import GRPCError
from grpclib.const import Handler
from grpclib.encoding.proto import ProtoStatusDetailsCodec
from grpclib.exceptions import StreamTerminatedError
from grpclib.health.check import ServiceStatus
from grpclib.health.service import Health
from grpclib.reflection.service import ServerReflection
from grpclib.server import Server
from grpclib.server import Stream as ServerStream

from contracts.errors import DeadlineExceeded, Overloaded, Unavailable, VestnikError
from infra.rpc.codec import StrictCodec
from infra.rpc.context import Call, enter
from infra.rpc.credentials import Verifier
from infra.rpc.errors import to_grpc
from infra.secrets import Secrets

log = logging.getLogger(__name__)
Stream = ServerStream[Any, Any]

# For a caller that gave no deadline, or a longer one.
LONGEST_CALL = 30.0
# Calls at work at once; more are refused, so that what waits stays bounded.
MOST_CALLS = 1_000


class Servable(Protocol):
    def __mapping__(self) -> Mapping[str, Handler]: ...


class RpcServer:
    """One service's gRPC server with health and reflection."""

    def __init__(
        self, service: str, handlers: Collection[Servable], *, secrets: Secrets, callers: frozenset[str]
    ) -> None:
        self._verifier = Verifier(service, callers, secrets)
        self._health = ServiceStatus()
        self._draining = False
        self._at_work = 0
        self._idle = asyncio.Event()
        self._idle.set()
        guarded = [
            _Guarded({path: self._guard(handler) for path, handler in each.__mapping__().items()}) for each in handlers
        ]
        # Health and reflection need no credential: they show no data.
        health = Health({each: [self._health] for each in guarded})
        self._server = Server(
            ServerReflection.extend([*guarded, health]),
            codec=StrictCodec(),
            status_details_codec=ProtoStatusDetailsCodec(),
        )

    async def start(self, host: str, port: int, *, shared: bool = False) -> None:
        """Begins to listen; health says NOT_SERVING until `set_ready`. `shared`: somebody holds the port for us."""
        await self._server.start(host, port, reuse_port=shared)

    def set_ready(self, ready: bool) -> None:
        self._health.set(ready and not self._draining)

    async def drain(self, seconds: float) -> None:
        """Refuses new calls, lets those at work finish for so long, then stops."""
        self._draining = True
        self._health.set(False)
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            log.warning("stopping with %d calls unfinished", self._at_work)
        self._server.close()
        await self._server.wait_closed()

    def _guard(self, handler: Handler) -> Handler:
        func: Callable[[Stream], Awaitable[None]] = handler.func

        async def guarded(stream: Stream) -> None:
            try:
                self._admit()
            except VestnikError as error:
                raise to_grpc(error, executed=False) from None
            try:
                await self._call(func, stream)
            finally:
                self._at_work -= 1
                if not self._at_work:
                    self._idle.set()

        return handler._replace(func=guarded)

    def _admit(self) -> None:
        if self._draining:
            raise Unavailable("This process is stopping.")
        if self._at_work >= MOST_CALLS:
            raise Overloaded(retry_after=1)
        self._at_work += 1
        self._idle.clear()

    async def _call(self, func: Callable[[Stream], Awaitable[None]], stream: Stream) -> None:
        metadata: Mapping[str, object] = stream.metadata or {}
        try:
            caller = self._verifier.caller(str(metadata.get("authorization") or ""))
            enter(Call.from_metadata(metadata, caller))
            async with asyncio.timeout(LONGEST_CALL):
                await func(stream)
        except VestnikError as error:
            raise to_grpc(error) from error
        except (GRPCError, StreamTerminatedError):
            raise
        except TimeoutError as error:
            raise to_grpc(DeadlineExceeded()) from error
        except Exception as error:
            # The edge: whatever went wrong inside is logged here and never shown outside.
            log.exception("%s failed", stream._method_name)
            raise to_grpc(VestnikError()) from error


class _Guarded:
    def __init__(self, mapping: Mapping[str, Handler]) -> None:
        self._mapping = dict(mapping)

    def __mapping__(self) -> Mapping[str, Handler]:
        return self._mapping
