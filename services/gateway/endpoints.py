"""What a route is: one declaration that dispatch and the OpenAPI document both read, so that they cannot differ."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec
from starlette.datastructures import Headers

from contracts.errors import VestnikError
from contracts.identifiers import is_id
from infra.rpc.context import Call
from services.gateway.parts import Parts
from services.gateway.queries import NoQuery
from services.gateway.rate_limits import Limit, Standing
from services.gateway.tokens import Caller

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


@dataclass(slots=True, kw_only=True)
class Incoming(Generic[Q, B]):
    """One request on its way: checked, decoded, with everything that its handler may use."""

    parts: Parts
    call: Call
    query: Q
    body: B
    path: Mapping[str, str]
    headers: Headers
    address: str
    # None only on public routes.
    signed_in: Caller | None = None
    standings: list[Standing] = field(default_factory=list)

    @property
    def caller(self) -> Caller:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a handler answers; the edge adds the headers that all answers have."""

    status: int = 200
    # None: no content.
    body: msgspec.Struct | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    # Encoded: where the write stands in the streams, or what the read model that answered has seen.
    position: str = ""
    # Whose latest position this is; None where it is a read's.
    written_by: str | None = None


Handler = Callable[[Incoming[Q, B]], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One way in which a route succeeds."""

    description: str
    body: type[msgspec.Struct] | None = None
    media_type: str = JSON
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted(Generic[B]):
    """A limit on a route; `key` says what of the body is counted where that is the limit's subject."""

    limit: Limit
    key: Callable[[B], str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Generic[Q, B]):
    method: str
    # With `{names}`.
    path: str
    tag: str
    summary: str
    handler: Handler[Q, B]
    answers: Mapping[int, Answer]
    description: str = ""
    query: type[Q]
    body: type[B]
    # Besides those that follow from the rest of the declaration.
    errors: tuple[type[VestnikError], ...] = ()
    limits: tuple[Counted[B], ...] = ()
    public: bool = False
    # Whether it changes something, so that its answer has a position to read one's own writes with.
    writes: bool = False
    # Whether a position in the request is waited for.
    reads: bool = False
    media_types: tuple[str, ...] = (JSON,)
    request_headers: tuple[str, ...] = ()

    @property
    def takes_body(self) -> bool:
        return self.body is not NoBody


# Endpoints of different types side by side, as a table of routes has them.
AnyEndpoint = Endpoint[Any, Any]


__all__ = [
    "JSON",
    "MERGE_PATCH",
    "Answer",
    "AnyEndpoint",
    "Counted",
    "Endpoint",
    "Handler",
    "Incoming",
    "NoBody",
    "NoQuery",
    "Page",
    "Reply",
]
