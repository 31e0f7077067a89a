"""A complete response with prepared headers, sent without Starlette's processing of each header."""

from collections.abc import Callable, Collection
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.gateway.http.scope_extensions import ANSWER, can_write_now

# Keys of the request's state: its id, and the status of its response once that is sent.
REQUEST_ID: Final = "request_id"
STATUS: Final = "status"
Answer = Callable[[int, bytes, bytes], None]
# Statuses without a body and without content-length.
_EMPTY = (204, 304)


class WholeResponse(Response):
    body: bytes

    def __init__(self, body: bytes, status: int, headers: dict[str, str], cookies: tuple[str, ...] = ()) -> None:
        """`headers`: names in lower case; content-length is added here, others may be until the response is sent.

        `cookies`: values of Set-Cookie, the one header that may repeat.
        """
        # Skips Starlette's constructor, which processes every header and encodes a body.
        self.status_code = status
        self.body = body
        self.background = None
        self.named = headers
        self._cookies = cookies
        if status not in _EMPTY:
            headers["content-length"] = str(len(body))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.named["x-request-id"] = begin_response(scope, self.status_code)
        answer: Answer | None = scope.get(ANSWER)
        if answer is not None and can_write_now(scope):
            answer(self.status_code, self._head(), self.body)
            return
        self.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self._lines()]
        await super().__call__(scope, receive, send)

    def _head(self) -> bytes:
        lines = self._lines()
        head = "".join([f"{name}: {value}\r\n" for name, value in lines])
        # Prevents header injection: no name or value may contain a line break.
        if head.count("\r") != len(lines) or head.count("\n") != len(lines) or "\0" in head:
            raise ValueError("a header of more than one line")
        return head.encode("latin-1")

    def _lines(self) -> Collection[tuple[str, str]]:
        if not self._cookies:
            return self.named.items()
        return [*self.named.items(), *(("set-cookie", value) for value in self._cookies)]


def begin_response(scope: Scope, status: int) -> str:
    """Notes the status in the request's state; returns the request's id, the value of `X-Request-Id`.

    Each response does this itself: a wrapper around `send` for each request costs 3 µs more; a page costs 32 µs.
    """
    state = scope["state"]
    state[STATUS] = status
    request_id: str = state[REQUEST_ID]
    return request_id
