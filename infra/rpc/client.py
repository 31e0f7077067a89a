"""gRPC client of a service: round robin over its replicas, a deadline on every call, retries where they are safe.

Writes to one aggregate go to one replica while it is available. Two writers of the same aggregate are correct, but each
append of one makes the other's next append conflict, and the state that each keeps in memory falls behind.
"""

import asyncio
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from itertools import cycle
from typing import Any, Protocol, TypeVar

from grpclib import GRPCError
from grpclib.client import Stream as ClientStream
from grpclib.config import Configuration
from grpclib.encoding.proto import ProtoStatusDetailsCodec
from grpclib.exceptions import StreamTerminatedError

from contracts.errors import DeadlineExceeded, NoQuorum, Unavailable, VestnikError
from contracts.services import OPERATOR
from infra.rpc.call_context import Call, current
from infra.rpc.error_mapping import from_grpc, was_executed
from infra.rpc.multiplex.channel import MultiplexedChannel
from infra.rpc.multiplex.stub import multiplexed
from infra.rpc.service_tokens import Issuer
from infra.rpc.tls import client_side
from infra.rpc.transport.channel import Channel
from infra.rpc.transport.protobuf_codec import StrictCodec
from infra.security.secrets import Secrets
from infra.settings import Settings

Request_contra = TypeVar("Request_contra", contravariant=True)
Response = TypeVar("Response")
Response_co = TypeVar("Response_co", covariant=True)
Stub = TypeVar("Stub")

# Backoff between attempts, seconds: initial and maximum.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
# Longest retry-after, in seconds, that the client waits out itself, within the deadline.
_LONGEST_WAIT = 1


class Unary(Protocol[Request_contra, Response_co]):
    def __call__(
        self, message: Request_contra, *, timeout: float | None = None, metadata: dict[str, str] | None = None
    ) -> Awaitable[Response_co]: ...


class Streaming(Protocol[Request_contra, Response_co]):
    def __call__(
        self, message: Request_contra, *, timeout: float | None = None, metadata: dict[str, str] | None = None
    ) -> AsyncIterator[Response_co]: ...


class Client:
    """A client of one service, over all of its replicas."""

    def __init__(self, target: str, *, me: str, settings: Settings, secrets: Secrets, carried: bool = False) -> None:
        """`carried`: multiplex unary calls on a long-lived stream to each replica (infra/rpc/multiplex)."""
        self._target = target
        self._issuer = Issuer(me, secrets)
        tls = client_side(settings, me, target)
        config = Configuration(
            _keepalive_time=20.0,
            _keepalive_timeout=10.0,
            # Also without calls in flight: the multiplexing stream is always open.
            _http2_max_pings_without_data=0,
            _http2_min_sent_ping_interval_without_data=15.0,
            ssl_target_name_override=tls.target if tls else None,
        )
        channels = [
            Channel(
                host,
                port,
                config=config,
                codec=StrictCodec(),
                status_details_codec=ProtoStatusDetailsCodec(),
                ssl=tls.context if tls else None,
            )
            for host, port in settings.addresses_of(target)
        ]
        self._replicas: list[Channel | MultiplexedChannel] = (
            [MultiplexedChannel(channel, partial(self._issuer.token, target)) for channel in channels]
            if carried
            else [*channels]
        )
        self._carried = carried
        self._turns = cycle(self._replicas)
        # The replica for the call that is being started; None: the next in turn.
        self._chosen: Channel | MultiplexedChannel | None = None

    def stub(self, kind: Callable[[Any], Stub]) -> Stub:
        """The generated stub, distributing its calls over the replicas."""
        return (multiplexed(kind) if self._carried else kind)(self)

    def request(self, *args: object, **kwargs: object) -> ClientStream[Any, Any]:
        """The channel interface for stubs: each call goes to the chosen replica, or else the next in turn."""
        replica = self._next()
        channel = replica.channel if isinstance(replica, MultiplexedChannel) else replica
        return channel.request(*args, **kwargs)  # type: ignore[arg-type]  # passed through as the stub gave it

    def unary(
        self, name: str, request: object, reply_type: type[Any], timeout: float, metadata: Mapping[str, str]
    ) -> Awaitable[Any]:
        """The channel interface for multiplexed stubs. Raises as `MultiplexedChannel.unary` does."""
        replica = self._next()
        assert isinstance(replica, MultiplexedChannel)
        return replica.unary(name, request, reply_type, timeout, metadata)

    def _next(self) -> Channel | MultiplexedChannel:
        replica, self._chosen = self._chosen or next(self._turns), None
        return replica

    async def call(
        self,
        method: Unary[Request_contra, Response],
        request: Request_contra,
        *,
        timeout: float = 5.0,
        idempotent: bool = False,
        context: Call | None = None,
        about: str | None = None,
    ) -> Response:
        """Makes a call. Retries within the deadline if the call was not begun or, if idempotent, when it was lost.

        The deadline is `timeout` seconds from now, or that of the call being served if it is earlier.
        `about`: the aggregate written to; calls about the same one try the same replica first, from every client.

        Raises:
            DeadlineExceeded: no answer in time, or the connection was lost and the outcome is not known.
            Unavailable: no replica could be reached.
            VestnikError: the error that the service returned.
        """
        call = context or current()
        deadline = time.monotonic() + timeout
        if call.deadline is not None:
            deadline = min(deadline, call.deadline)
        pause, attempts = 0.0, 0
        while True:
            # The stub uses it synchronously when it starts the call, before any other call can.
            self._chosen = self._replica_for(about) if about is not None and not attempts else None
            try:
                return await method(
                    request,
                    timeout=max(deadline - time.monotonic(), 0.001),
                    metadata=self._metadata(call),
                )
            except TimeoutError as error:
                raise DeadlineExceeded() from error
            except GRPCError as error:
                failure: VestnikError = from_grpc(error)
                if was_executed(error) and not (idempotent and isinstance(failure, Unavailable)):
                    raise failure from error
            except StreamTerminatedError as error:
                if not idempotent:
                    raise DeadlineExceeded(
                        "The connection was lost; it is unknown whether the request took effect."
                    ) from error
                failure = Unavailable()
            except OSError:
                failure = Unavailable()  # connection refused: the call was never sent
            attempts += 1
            if attempts >= len(self._replicas):
                if isinstance(failure, NoQuorum) or (failure.retry_after or 0) > _LONGEST_WAIT:
                    # The condition lasts for seconds: the caller decides when to retry.
                    raise failure
                pause = min(pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
            if time.monotonic() + pause >= deadline:
                raise failure
            await asyncio.sleep(pause)

    async def stream(
        self,
        method: Streaming[Request_contra, Response],
        request: Request_contra,
        *,
        timeout: float = 30.0,
        context: Call | None = None,
    ) -> AsyncGenerator[Response, None]:
        """A server stream; not retried, since the caller has consumed a part of it. Raises as `call` does."""
        try:
            async for message in method(request, timeout=timeout, metadata=self._metadata(context or current())):
                yield message
        except TimeoutError as error:
            raise DeadlineExceeded() from error
        except GRPCError as error:
            raise from_grpc(error) from error
        except (StreamTerminatedError, OSError) as error:
            raise Unavailable() from error

    def close(self) -> None:
        for replica in self._replicas:
            replica.close()

    def _replica_for(self, about: str) -> Channel | MultiplexedChannel:
        return self._replicas[zlib.crc32(about.encode()) % len(self._replicas)]

    def _metadata(self, call: Call) -> dict[str, str]:
        metadata = call.metadata()
        session = call.session if self._target == OPERATOR else None
        metadata["authorization"] = f"Bearer {self._issuer.token(self._target, call.actor, session)}"
        return metadata
