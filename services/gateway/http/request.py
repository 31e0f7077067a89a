"""A request as it came, at hand without detours: every one passes here, and of most the same few things are asked."""

from functools import lru_cache
from typing import TypeVar, overload

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Receive, Scope

from services.gateway.http.scope_extensions import whole_body

D = TypeVar("D")


class RequestHeaders(Headers):
    """Found by name in a table; the library's own are searched from the first to the last for each name."""

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        super().__init__(raw=raw)
        # Of several of one name the first, as in the library.
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
        # What stands in the place of the names in the route's path.
        self.path_params: dict[str, str] = {}

    @property
    def query(self) -> bytes:
        """What stands behind the question mark, as it came."""
        given: bytes = self._scope["query_string"]
        return given

    @property
    def peer(self) -> str:
        """Whoever is at the other end of the connection; empty where that is not known."""
        client = self._scope.get("client")
        return client[0] if client else ""

    def whole_body(self) -> bytes | None:
        """The body, where all of it is here; else it has to be received."""
        return whole_body(self._scope)

    @property
    def shown_path(self) -> str:
        """The path as a problem shows it."""
        return Request(self._scope).url.path


@lru_cache(maxsize=128)
def _name(key: str) -> bytes:
    return key.lower().encode("latin-1")
