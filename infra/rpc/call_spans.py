"""Spans of gRPC calls: one at the caller for each attempt, one at the service."""

import asyncio
from collections.abc import Awaitable, Mapping
from types import TracebackType
from typing import Any, TypeVar

from grpclib import GRPCError, Status
from grpclib.client import Stream as ClientStream

from contracts.tracing.spans import Span, SpanKind, child
from infra.rpc.call_context import TRACEPARENT

Response = TypeVar("Response")
# With these the service has failed; with the others it has refused.
_FAILURES = frozenset(
    (
        Status.UNKNOWN,
        Status.DEADLINE_EXCEEDED,
        Status.UNIMPLEMENTED,
        Status.INTERNAL,
        Status.UNAVAILABLE,
        Status.DATA_LOSS,
    )
)


def client_span(metadata: Mapping[str, str], path: str) -> Span | None:
    """Begins the span of an attempt at a call; None if its trace is not sampled."""
    return _call_span(metadata.get(TRACEPARENT), SpanKind.CLIENT, path)


def server_span(traceparent: str | None, path: str) -> Span | None:
    """Begins the span of a call at its service; None if its trace is not sampled."""
    return _call_span(traceparent, SpanKind.SERVER, path)


def end_client_span(span: Span, error: BaseException | None) -> None:
    status = _status_of(error)
    span.set("rpc.grpc.status_code", status.value)
    span.end("" if status is Status.OK else status.name)


def end_server_span(span: Span, error: BaseException | None) -> None:
    status = _status_of(error)
    span.set("rpc.grpc.status_code", status.value)
    span.end(status.name if status in _FAILURES else "")


async def traced(span: Span, response: Awaitable[Response]) -> Response:
    """The response to an attempt; ends its span."""
    failure: BaseException | None = None
    try:
        return await response
    except BaseException as error:
        failure = error
        raise
    finally:
        end_client_span(span, failure)


class TracedStream:
    """A call that is not multiplexed, and its span."""

    def __init__(self, stream: ClientStream[Any, Any], span: Span) -> None:
        self._stream = stream
        self._span = span

    async def __aenter__(self) -> ClientStream[Any, Any]:
        return await self._stream.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failure = error
        try:
            await self._stream.__aexit__(kind, error, trace)
        except BaseException as raised:
            failure = raised
            raise
        finally:
            end_client_span(self._span, failure)


def _call_span(traceparent: str | None, kind: SpanKind, path: str) -> Span | None:
    span = child(traceparent, kind, path)
    if span is not None:
        service, _, method = path.lstrip("/").partition("/")
        span.rename(f"{service}/{method}")
        span.set("rpc.system", "grpc")
        span.set("rpc.service", service)
        span.set("rpc.method", method)
    return span


def _status_of(error: BaseException | None) -> Status:
    match error:
        case None:
            return Status.OK
        case GRPCError():
            return error.status
        case asyncio.CancelledError():
            return Status.CANCELLED
        case TimeoutError():
            return Status.DEADLINE_EXCEEDED
        case _:
            # The connection was refused or lost.
            return Status.UNAVAILABLE
