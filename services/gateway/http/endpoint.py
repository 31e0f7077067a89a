"""What a route is: one declaration that dispatch and the OpenAPI document both read, so that they cannot differ."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from starlette.datastructures import Headers
from starlette.types import Scope, Send

from contracts.errors import VestnikError
from contracts.values.ids import is_id
from infra.rpc.call_context import Call
from services.gateway.context import GatewayContext
from services.gateway.http.query_params import NoQuery
from services.gateway.limits.rate_limiter import Limit, LimitState
from services.gateway.security.access_tokens import Principal

B = TypeVar("B")
Q = TypeVar("Q")
T = TypeVar("T")

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"


class NoBody(msgspec.Struct, frozen=True):
    """For routes that take no body; one that is sent all the same is ignored."""


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list."""

    items: list[T]
    # The cursor of the next page; null on the last.
    next: str | None


class Request(msgspec.Struct, Generic[Q, B], kw_only=True):
    """One request on its way: checked, decoded, with everything that its handler may use."""

    context: GatewayContext
    call: Call
    query: Q
    body: B
    path: Mapping[str, str]
    headers: Headers
    address: str
    # None only on public routes.
    signed_in: Principal | None = None
    # Of the limits that the request was counted against; a handler that counts more adds to them.
    standings: list[LimitState]

    @property
    def caller(self) -> Principal:
        """Who asks, on a route that is not public."""
        assert self.signed_in is not None
        return self.signed_in

    def path_id(self, name: str, missing: type[VestnikError]) -> str:
        """An id in the path.

        Raises:
            `missing`: it is no id, so there can be nothing by it.
        """
        text = self.path[name].lower()
        if not is_id(text):
            raise missing
        return text


class StreamBody(Protocol):
    """A body that has no end of its own."""

    async def send(self, scope: Scope, gone: asyncio.Future[None], send: Send) -> None:
        """Sends it, until it ends or the client is `gone`; the response has been started, and is not ended."""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler answers; the edge adds the headers that all answers have."""

    status: int = 200
    # None: no content.
    body: msgspec.Struct | bytes | None = None
    # Sent piece by piece instead, for as long as it lasts.
    stream: StreamBody | None = None
    headers: Mapping[str, str] = {}
    # Whole values of Set-Cookie.
    cookies: tuple[str, ...] = ()
    # Encoded: where the write stands in the streams, or what the read model that answered has seen.
    position: str = ""
    # Whose latest position this is; None where it is a read's.
    written_by: str | None = None
    # Whom else it concerns.
    concerns: str | None = None


def page_of(items: bytes, following: str | None) -> bytes:
    """A `Page` in JSON whose items are JSON already: an array, passed on as it is."""
    return b'{"items":%b,"next":%b}' % (items, msgspec.json.encode(following))


Handler = Callable[[Request[Q, B]], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentedResponse:
    """One way in which a route succeeds."""

    description: str
    body: type[msgspec.Struct] | None = None
    media_type: str = JSON
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedLimit(Generic[B]):
    """A limit on a route; `key` says what of the body is counted where that is the limit's subject.

    `key_of_headers`: the same where it is in the headers; nothing is counted where it says None.
    """

    limit: Limit
    key: Callable[[B], str] | None = None
    key_of_headers: Callable[[Headers], str | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Generic[Q, B]):
    method: str
    # With `{names}`.
    path: str
    tag: str
    summary: str
    handler: Handler[Q, B]
    answers: Mapping[int, DocumentedResponse]
    description: str = ""
    query: type[Q]
    body: type[B]
    # Besides those that follow from the rest of the declaration.
    errors: tuple[type[VestnikError], ...] = ()
    limits: tuple[AppliedLimit[B], ...] = ()
    public: bool = False
    # Whether it changes something, so that its answer has a position to read one's own writes with.
    writes: bool = False
    # Whether a position in the request is waited for.
    reads: bool = False
    media_types: tuple[str, ...] = (JSON,)
    request_headers: tuple[str, ...] = ()
    # The name by which it can be asked for over a WebSocket; empty where it cannot.
    command: str = ""

    @property
    def takes_body(self) -> bool:
        return self.body is not NoBody


# Endpoints of different types side by side, as a table of routes has them.
AnyEndpoint = Endpoint[Any, Any]


__all__ = [
    "JSON",
    "MERGE_PATCH",
    "AnyEndpoint",
    "AppliedLimit",
    "DocumentedResponse",
    "Endpoint",
    "Handler",
    "NoBody",
    "NoQuery",
    "Page",
    "Request",
    "Response",
    "StreamBody",
    "page_of",
]
