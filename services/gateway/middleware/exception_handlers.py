"""Exception handlers of the application: every error becomes a problem document (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.types import ExceptionHandler

from contracts.errors import MethodNotAllowed, NotFound, VestnikError
from services.gateway.http import problems
from services.gateway.http.endpoint_route import LIMITS
from services.gateway.http.response import WholeResponse
from services.gateway.limits import rate_limiter

_ENCODER = msgspec.json.Encoder()
# Errors that Starlette's router raises.
_OF_ROUTER: Mapping[int, type[VestnikError]] = {
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.METHOD_NOT_ALLOWED: MethodNotAllowed,
}


async def vestnik_error(connection: HTTPConnection, error: Exception) -> Response:
    """The problem document of the error, with the limits that the request was counted against."""
    assert isinstance(error, VestnikError)
    return _problem(connection, error)


async def http_exception(connection: HTTPConnection, error: Exception) -> Response:
    """The problem document of an error of the router."""
    assert isinstance(error, HTTPException)
    return _problem(connection, _OF_ROUTER.get(error.status_code, VestnikError)(), error.headers or {})


async def unexpected_error(connection: HTTPConnection, error: Exception) -> Response:
    """A problem document that shows nothing of the error; the server logs it."""
    return _problem(connection, VestnikError())


async def client_disconnect(connection: HTTPConnection, error: Exception) -> None:
    """No response: the client has gone."""


def _problem(connection: HTTPConnection, error: VestnikError, more: Mapping[str, str] = {}) -> Response:
    limits = rate_limiter.headers(connection.scope["state"].get(LIMITS, ()))
    body = _ENCODER.encode(problems.problem(error, connection.url.path))
    return WholeResponse(body, error.status, {**problems.headers(error), **limits, **more})


HANDLERS: Mapping[type[Exception], ExceptionHandler] = {
    VestnikError: vestnik_error,
    HTTPException: http_exception,
    ClientDisconnect: client_disconnect,
    Exception: unexpected_error,
}
