"""A request's headers, and its id, taken from them if valid."""

import re
from functools import lru_cache
from typing import Final, TypeVar, overload

from starlette.datastructures import Headers
from starlette.types import Scope

from contracts.values.ids import new_id

D = TypeVar("D")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# ASGI scope key: the request's headers, parsed once.
_HEADERS: Final = "vestnik.headers"


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


def request_headers(scope: Scope) -> RequestHeaders:
    """The headers of the request, parsed at the first call."""
    headers: RequestHeaders | None = scope.get(_HEADERS)
    if headers is None:
        headers = scope[_HEADERS] = RequestHeaders(scope["headers"])
    return headers


def forget_headers(scope: Scope) -> None:
    """Frees what `request_headers` has parsed."""
    scope.pop(_HEADERS, None)


@lru_cache(maxsize=128)
def _name(key: str) -> bytes:
    return key.lower().encode("latin-1")


def parse_request_id(header: str | None) -> str:
    """The client's request id if valid, else a new one."""
    return header if header and _REQUEST_ID.fullmatch(header) else new_id()


def correlation_id(header: str | None, shown: str) -> str:
    """A new id beside the shown one if that is the client's; empty if the shown one is ours."""
    return new_id() if header == shown else ""
