"""Calling a service over gRPC: several replicas in turn, a deadline on every call, a retry where it is safe."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import cycle
from typing import Any, Protocol, TypeVar

from grpclib import GRPCError
from grpclib.client import Channel
from grpclib.client import Stream as ClientStream
from grpclib.config import Configuration
from grpclib.encoding.proto import ProtoStatusDetailsCodec
from grpclib.exceptions import StreamTerminatedError

from contracts.errors import DeadlineExceeded, Unavailable, VestnikError
from infra.rpc.codec import StrictCodec
from infra.rpc.context import Call, current
from infra.rpc.credentials import Issuer
from infra.rpc.errors import from_grpc, was_executed
from infra.secrets import Secrets
from infra.settings import Settings

Request_contra = TypeVar("Request_contra", contravariant=True)
Response = TypeVar("Response")
Response_co = TypeVar("Response_co", covariant=True)
Stub = TypeVar("Stub")

# Between attempts, seconds: first and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


class Unary(Protocol[Request_contra, Response_co]):
    def __call__(
        self, message: Request_contra, *, timeout: float | None = None, metadata: dict[str, str] | None = None
    ) -> Awaitable[Response_co]: ...


class Streaming(Protocol[Request_contra, Response_co]):
    def __call__(
        self, message: Request_contra, *, timeout: float | None = None, metadata: dict[str, str] | None = None
    ) -> AsyncIterator[Response_co]: ...


class Client:
    """One service as another sees it: all of its replicas."""

    def __init__(self, target: str, *, me: str, settings: Settings, secrets: Secrets) -> None:
        self._target = target
        self._issuer = Issuer(me, secrets)
        config = Configuration(_keepalive_time=20.0, _keepalive_timeout=10.0)
        self._channels = [
            Channel(host, port, config=config, codec=StrictCodec(), status_details_codec=ProtoStatusDetailsCodec())
            for host, port in settings.addresses_of(target)
        ]
        self._turns = cycle(self._channels)

    def stub(self, kind: Callable[[Any], Stub]) -> Stub:
        """The generated stub, over all replicas in turn."""
        return kind(self)

    def request(self, *args: object, **kwargs: object) -> ClientStream[Any, Any]:
        """What a stub asks of its channel; each call goes to the next replica."""
        return next(self._turns).request(*args, **kwargs)  # type: ignore[arg-type]  # passed through as the stub gave it

    async def call(
        self,
        method: Unary[Request_contra, Response],
        request: Request_contra,
        *,
        timeout: float = 5.0,
        idempotent: bool = False,
        context: Call | None = None,
    ) -> Response:
        """Calls, and again within the deadline where the call was not begun (or, if idempotent, was lost).

        Raises:
            DeadlineExceeded: no answer in time, or the connection was lost and the outcome is not known.
            Unavailable: no replica could be reached.
            VestnikError: what the service answered.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        pause, attempts = 0.0, 0
        while True:
            try:
                return await method(
                    request,
                    timeout=max(deadline - loop.time(), 0.001),
                    metadata=self._metadata(context or current()),
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
                        "The connection was lost; whether the request took effect is not known."
                    ) from error
                failure = Unavailable()
            except OSError:
                failure = Unavailable()  # refused: the call was never sent
            attempts += 1
            if attempts >= len(self._channels):
                pause = min(pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
            if loop.time() + pause >= deadline:
                raise failure
            await asyncio.sleep(pause)

    async def stream(
        self,
        method: Streaming[Request_contra, Response],
        request: Request_contra,
        *,
        timeout: float = 30.0,
        context: Call | None = None,
    ) -> AsyncIterator[Response]:
        """A server's stream; not repeated, since the caller has seen a part of it. Raises as `call` does."""
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
        for channel in self._channels:
            channel.close()

    def _metadata(self, call: Call) -> dict[str, str]:
        return call.metadata() | {"authorization": f"Bearer {self._issuer.token(self._target)}"}
