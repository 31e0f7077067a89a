"""A route as one declaration, read by both the route and the OpenAPI document, so that they cannot differ."""

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
    """For routes without a body; one that is sent anyway is ignored."""


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list."""

    items: list[T]
    # The cursor of the next page; null on the last.
    next: str | None


class Request(msgspec.Struct, Generic[Q, B], kw_only=True):
    """A decoded and checked request, with everything that its handler may use."""

    context: GatewayContext
    call: Call
    query: Q
    body: B
    path: Mapping[str, str]
    headers: Headers
    address: str
    # None only on public routes.
    signed_in: Principal | None = None
    # The limits that the request was counted against; a handler that counts more appends to them.
    limit_states: list[LimitState]

    @property
    def caller(self) -> Principal:
        """The authenticated user, on a route that is not public."""
        assert self.signed_in is not None
        return self.signed_in

    def path_id(self, name: str, missing: type[VestnikError]) -> str:
        """An id in the path.

        Raises:
            `missing`: it is not an id, so nothing can have it.
        """
        text = self.path[name].lower()
        if not is_id(text):
            raise missing
        return text


class StreamBody(Protocol):
    """An open-ended response body."""

    async def send(self, scope: Scope, gone: asyncio.Future[None], send: Send) -> None:
        """Sends until the body ends or the client is `gone`. The caller starts and ends the response."""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A handler's response; the edge adds the headers common to all responses."""

    status: int = 200
    # None: no content.
    body: msgspec.Struct | bytes | None = None
    # An open-ended body, sent instead of `body`.
    stream: StreamBody | None = None
    headers: Mapping[str, str] = {}
    # Whole values of Set-Cookie.
    cookies: tuple[str, ...] = ()
    # Encoded: the position of the write, or what the read model that answered has seen.
    position: str = ""
    # The user who wrote; None for a read.
    written_by: str | None = None
    # The other user whom the write concerns.
    concerns: str | None = None


def page_of(items: bytes, following: str | None) -> bytes:
    """A `Page` as JSON, from items that are a JSON array already: they are passed on unchanged."""
    return b'{"items":%b,"next":%b}' % (items, msgspec.json.encode(following))


def path_of(path: str, key: type[msgspec.Struct]) -> str:
    """The path of one item of a list: each field of its key is a parameter."""
    return "/".join([path, *(f"{{{name}}}" for name in key.__struct_fields__)])


Handler = Callable[[Request[Q, B]], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentedResponse:
    """One successful response of a route."""

    description: str
    body: type[msgspec.Struct] | None = None
    media_type: str = JSON
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedLimit(Generic[B]):
    """A limit on a route. `key`: the part of the body that is counted, if that is the limit's subject.

    `key_of_headers`: the same from the headers; nothing is counted if it returns None.
    """

    limit: Limit
    key: Callable[[B], str] | None = None
    key_of_headers: Callable[[Headers], str | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Generic[Q, B]):
    method: str
    # With `{names}`.
    path: str
    # The struct with the types of the parameters in the path; by default all are ids.
    path_types: type[msgspec.Struct] | None = None
    tag: str
    summary: str
    handler: Handler[Q, B]
    answers: Mapping[int, DocumentedResponse]
    description: str = ""
    query: type[Q]
    body: type[B]
    # In addition to those that the rest of the declaration implies.
    errors: tuple[type[VestnikError], ...] = ()
    limits: tuple[AppliedLimit[B], ...] = ()
    public: bool = False
    # Whether it changes something: its response then carries a position for reading one's own writes.
    writes: bool = False
    # Whether it waits for the position in the request.
    reads: bool = False
    # Whether it is about what no stream stores: its response then has no position.
    ephemeral: bool = False
    media_types: tuple[str, ...] = (JSON,)
    request_headers: tuple[str, ...] = ()
    # The command's name on the WebSocket; empty if it is not available there.
    command: str = ""

    @property
    def takes_body(self) -> bool:
        return self.body is not NoBody


# Endpoints of different types, as in a table of routes.
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
    "path_of",
]
