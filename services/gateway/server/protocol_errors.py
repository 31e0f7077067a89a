"""Responses of the protocol layer, sent before or instead of a route's: problem documents like all others."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus

import msgspec

from contracts.values.ids import new_id
from services.gateway.http import problems


class Refusal(Exception):
    """Ends a request or handshake with this response."""

    def __init__(self, status: HTTPStatus, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers or {}


NOT_HTTP = Refusal(HTTPStatus.BAD_REQUEST, "malformed_request", "The request is not HTTP.")
TOO_MANY = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", "Too many connections; try again shortly.", {"retry-after": "1"}
)
LARGE_HEADERS = Refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", "The headers are too large, or too many."
)
LONG_URL = Refusal(HTTPStatus.REQUEST_URI_TOO_LONG, "uri_too_long", "The URL is too long.")
NO_HOST = Refusal(HTTPStatus.BAD_REQUEST, "malformed_request", "The request needs one Host header.")
FRAMING = Refusal(HTTPStatus.BAD_REQUEST, "malformed_request", "Where the request's body ends is ambiguous.")
TWO_CREDENTIALS = Refusal(HTTPStatus.BAD_REQUEST, "malformed_request", "The request has two Authorization headers.")
NOT_WITH_GET = Refusal(
    HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", "A WebSocket must be opened with GET.", {"allow": "GET"}
)
NO_HANDSHAKE = Refusal(
    HTTPStatus.BAD_REQUEST,
    "malformed_request",
    "The request does not open a WebSocket (RFC 6455, version 13).",
    {"sec-websocket-version": "13"},
)


def written(refusal: Refusal, common: Iterable[tuple[bytes, bytes]], instance: str = "") -> bytes:
    """The whole response; the connection is closed after it. `common`: the headers of every response."""
    status, code = refusal.status, refusal.code
    body = msgspec.json.encode(
        problems.Problem(
            type=f"/problems/{code}",
            title=status.phrase,
            status=status,
            detail=refusal.detail,
            instance=instance,
            code=code,
        )
    )
    headers = {
        "content-type": problems.MEDIA_TYPE,
        "content-length": str(len(body)),
        "cache-control": "no-store",
        "x-request-id": new_id(),
        "connection": "close",
        **problems.NOTHING_TO_RUN,
        **refusal.headers,
    }
    return b"".join(
        [
            f"HTTP/1.1 {status} {status.phrase}\r\n".encode(),
            *[f"{name}: {value}\r\n".encode() for name, value in headers.items()],
            *[name + b": " + value + b"\r\n" for name, value in common],
            b"\r\n",
            body,
        ]
    )
