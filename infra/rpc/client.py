"""gRPC client of a service: round robin over its replicas, a deadline on every call, retries where they are safe.

Writes to one aggregate go to one replica while it is available, by rendezvous hashing: when replicas come or go, only
the aggregates of these move. Two writers of the same aggregate are correct, but each append of one makes the other's
next append conflict, and the state that each keeps in memory falls behind.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from itertools import count
from typing import Any, Protocol, TypeVar

from grpclib import GRPCError
from grpclib.client import Stream as ClientStream
from grpclib.config import Configuration
from grpclib.encoding.proto import ProtoStatusDetailsCodec
from grpclib.exceptions import StreamTerminatedError

from contracts.deadlines import REQUEST
from contracts.errors import DeadlineExceeded, NoQuorum, Unauthenticated, Unavailable, VestnikError
from contracts.services import OPERATOR
from infra.rpc.call_context import TRACEPARENT, Call, current
from infra.rpc.call_spans import TracedStream, client_span, traced
from infra.rpc.error_mapping import from_grpc, was_executed
from infra.rpc.multiplex.channel import MultiplexedChannel
from infra.rpc.multiplex.stub import multiplexed
from infra.rpc.replicas import Address, Replicas
from infra.rpc.service_tokens import Issuer
from infra.rpc.tls import client_side
from infra.rpc.transport.channel import Channel
from infra.rpc.transport.protobuf_codec import StrictCodec
from infra.security.secrets import Secrets
from infra.settings import Settings

log = logging.getLogger(__name__)

Request_contra = TypeVar("Request_contra", contravariant=True)
Response = TypeVar("Response")
Response_co = TypeVar("Response_co", covariant=True)
Stub = TypeVar("Stub")

# Backoff between attempts, seconds: initial and maximum.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
# Longest retry-after, in seconds, that the client waits out itself, within the deadline.
_LONGEST_WAIT = 1
# Seconds after which the connection to a replica that is no longer among the present ones is closed: no call that was
# made on it lasts longer.
_LEAVING = REQUEST + 1.0
# Seconds between two PINGs of an idle connection; one that is not answered closes it.
_KEEPALIVE = 20.0
# Seconds between two log lines about a refused service token.
_REFUSAL_LOG_INTERVAL = 60.0


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

    def __init__(
        self,
        target: str,
        *,
        me: str,
        settings: Settings,
        secrets: Secrets,
        carried: bool = False,
        replicas: Replicas | None = None,
    ) -> None:
        """Needs a running event loop if the replicas are found by name.

        `carried`: multiplex unary calls on a long-lived stream to each replica (infra/rpc/multiplex).
        `replicas`: of the target, if not those of the settings; the client starts and closes them.
        """
        self._target = target
        self._issuer = Issuer(me, secrets)
        self._tls = client_side(settings, me, target)
        self._carried = carried
        self._addresses = replicas or Replicas.of(settings, target)
        # Those to which calls are made, and in addition those that have left and may still answer earlier calls.
        self._replicas: dict[Address, Channel | MultiplexedChannel] = {}
        self._leaving: dict[Address, tuple[Channel | MultiplexedChannel, asyncio.TimerHandle]] = {}
        self._turns = count()
        self._next_refusal_log = 0.0
        # Of the call that is being started: its replica (None: the next in turn), and whether it may be repeated.
        self._chosen: Channel | MultiplexedChannel | None = None
        self._repeatable = False
        self._follow()
        self._addresses.start(self._follow)

    def stub(self, kind: Callable[[Any], Stub]) -> Stub:
        """The generated stub, distributing its calls over the replicas."""
        return (multiplexed(kind) if self._carried else kind)(self)

    def request(
        self,
        name: str,
        *args: Any,  # noqa: ANN401 - passed through as the stub gave them
        metadata: Mapping[str, str],
        **kwargs: Any,  # noqa: ANN401
    ) -> ClientStream[Any, Any] | TracedStream:
        """The channel interface for stubs: each call goes to the chosen replica, or else the next in turn."""
        replica = self._next()
        channel = replica.channel if isinstance(replica, MultiplexedChannel) else replica
        span = client_span(metadata, name)
        if span is None:
            return channel.request(name, *args, metadata=metadata, **kwargs)
        metadata = {**metadata, TRACEPARENT: span.traceparent}
        return TracedStream(channel.request(name, *args, metadata=metadata, **kwargs), span)

    def unary(
        self, name: str, request: object, reply_type: type[Any], timeout: float, metadata: Mapping[str, str]
    ) -> Awaitable[Any]:
        """Makes a unary call, as multiplexed stubs expect of a channel. Raises as `MultiplexedChannel.unary` does."""
        replica = self._next()
        assert isinstance(replica, MultiplexedChannel)
        span = client_span(metadata, name)
        if span is not None:
            metadata = {**metadata, TRACEPARENT: span.traceparent}
        response = replica.unary(name, request, reply_type, timeout, metadata, repeatable=self._repeatable)
        return response if span is None else traced(span, response)

    def _next(self) -> Channel | MultiplexedChannel:
        """
        Raises:
            OSError: no replica has been found yet.
        """
        replica, self._chosen = self._chosen, None
        if replica is not None:
            return replica
        usable = self._usable()
        return self._replicas[usable[next(self._turns) % len(usable)]]

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
            try:
                # The stub uses both synchronously when it starts the call, before any other call can.
                self._repeatable = idempotent
                self._chosen = self._replica_for(about) if about is not None and not attempts else None
                return await method(
                    request,
                    timeout=max(deadline - time.monotonic(), 0.001),
                    metadata=self._metadata(call),
                )
            except TimeoutError as error:
                raise DeadlineExceeded() from error
            except GRPCError as error:
                failure: VestnikError = self._failure(error)
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
            self._addresses.look_up_again()
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
            raise self._failure(error) from error
        except (StreamTerminatedError, OSError) as error:
            self._addresses.look_up_again()
            raise Unavailable() from error

    def _failure(self, error: GRPCError) -> VestnikError:
        """The error for the caller. A refused service token is this system's fault: no client can log in against it."""
        failure = from_grpc(error)
        if not isinstance(failure, Unauthenticated):
            return failure
        now = time.monotonic()
        if now >= self._next_refusal_log:
            self._next_refusal_log = now + _REFUSAL_LOG_INTERVAL
            log.error("%s refuses the service token: do the keys or the clocks of the machines differ?", self._target)
        return Unavailable(retry_after=_LONGEST_WAIT + 1)

    def close(self) -> None:
        self._addresses.close()
        for replica in self._replicas.values():
            replica.close()
        for replica, timer in self._leaving.values():
            timer.cancel()
            replica.close()

    def _follow(self) -> None:
        """Makes calls to the replicas that are present now. One that has left answers the calls that it has."""
        before, self._replicas = self._replicas, {}
        first = not before
        for address in self._addresses.present:
            replica = before.pop(address, None)
            if replica is None and address in self._leaving:
                replica, timer = self._leaving.pop(address)
                timer.cancel()
            # Among others, a new one gets calls once it can be reached.
            self._replicas[address] = replica or self._open(address, proven=first)
        for address, replica in before.items():
            timer = asyncio.get_running_loop().call_later(_LEAVING, self._retire, address)
            self._leaving[address] = replica, timer

    def _retire(self, address: Address) -> None:
        replica, _ = self._leaving.pop(address)
        replica.close()

    def _open(self, address: Address, *, proven: bool) -> Channel | MultiplexedChannel:
        channel = Channel(
            *address,
            config=Configuration(
                _keepalive_time=_KEEPALIVE,
                _keepalive_timeout=10.0,
                # Also without calls in flight: the multiplexing stream is always open.
                _http2_max_pings_without_data=0,
                _http2_min_sent_ping_interval_without_data=15.0,
                ssl_target_name_override=self._tls.target if self._tls else None,
            ),
            codec=StrictCodec(),
            status_details_codec=ProtoStatusDetailsCodec(),
            ssl=self._tls.context if self._tls else None,
        )
        if not self._carried:
            return channel
        token = partial(self._issuer.token, self._target)
        return MultiplexedChannel(
            channel, token, proven=proven, has_alternative=partial(self._has_alternative, address)
        )

    def _has_alternative(self, address: Address) -> bool:
        """Whether a replica besides the one at the address is usable."""
        return any(
            isinstance(replica, MultiplexedChannel) and replica.usable()
            for other, replica in self._replicas.items()
            if other != address
        )

    def _usable(self) -> Sequence[Address]:
        """The replicas that were not lost or unreachable last time; all, if there is none.

        Raises:
            OSError: no replica has been found yet.
        """
        if not self._replicas:
            raise ConnectionRefusedError("no replica has been found yet")
        return [
            address
            for address, replica in self._replicas.items()
            if not isinstance(replica, MultiplexedChannel) or replica.usable()
        ] or list(self._replicas)

    def _replica_for(self, about: str) -> Channel | MultiplexedChannel:
        """The usable replica with the greatest hash of itself and the aggregate.

        Raises:
            OSError: no replica has been found yet.
        """
        usable = self._usable()
        if len(usable) == 1:
            return self._replicas[usable[0]]
        home = max(usable, key=lambda address: blake2b(f"{address} {about}".encode(), digest_size=8).digest())
        return self._replicas[home]

    def _metadata(self, call: Call) -> dict[str, str]:
        metadata = call.metadata()
        session = call.session if self._target == OPERATOR else None
        metadata["authorization"] = f"Bearer {self._issuer.token(self._target, call.actor, session)}"
        return metadata
