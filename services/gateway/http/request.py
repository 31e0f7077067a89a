"""The incoming request, with direct access to the few parts that most requests need."""

from functools import lru_cache
from typing import TypeVar, overload

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Receive, Scope

from services.gateway.http.scope_extensions import whole_body

D = TypeVar("D")


class RequestHeaders(Headers):
    """Headers found by name in a dict; Starlette's search the whole list for each name."""

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        super().__init__(raw=raw)
        # The first of several with one name, as in Starlette.
        self._first = dict(reversed(raw))

    @overload
    def get(self, key: str, /) -> str | None: ...
    @overload
    def get(self, key: str, /, default: str | D) -> str | D: ...
    def get(self, key: str, /, default: str | D | None = None) -> str | D | None:
        value = self._first.get(_name(key))
        return default if value is None else value.decode("latin-1")


class HttpRequest:
    __slots__ = ("_scope", "headers", "method", "path_params", "receive")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope = scope
        self.receive = receive
        self.method: str = scope["method"]
        self.headers = RequestHeaders(scope["headers"])
        # Values of the placeholders in the route's path.
        self.path_params: dict[str, str] = {}

    @property
    def query(self) -> bytes:
        """The raw query string."""
        given: bytes = self._scope["query_string"]
        return given

    @property
    def peer(self) -> str:
        """Address of the other end of the connection; empty if unknown."""
        client = self._scope.get("client")
        return client[0] if client else ""

    def whole_body(self) -> bytes | None:
        """The body if all of it has arrived; else None, and it has to be received."""
        return whole_body(self._scope)

    @property
    def shown_path(self) -> str:
        """The path as a problem shows it."""
        return Request(self._scope).url.path


@lru_cache(maxsize=128)
def _name(key: str) -> bytes:
    return key.lower().encode("latin-1")
