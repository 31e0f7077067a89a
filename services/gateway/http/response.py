"""An answer that is there as a whole, with headers that are names and values of ours: sent as it is."""

from collections.abc import Callable, Collection
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.gateway.http.scope_extensions import can_write_now

# Put into the scope by the protocol on the wire: writes a whole answer, where it is taken at once.
ANSWER: Final = "vestnik.answer"
Answer = Callable[[int, bytes, bytes], None]
# These have no content, and say nothing of its length.
_EMPTY = (204, 304)


class WholeResponse(Response):
    body: bytes

    def __init__(self, body: bytes, status: int, headers: dict[str, str], cookies: tuple[str, ...] = ()) -> None:
        """`headers`: their names in lower case; the length is added, and more may be until it is sent.

        `cookies`: values of Set-Cookie, the one header that may come several times.
        """
        # Past the library's constructor, which looks at every header and encodes a body.
        self.status_code = status
        self.body = body
        self.background = None
        self.named = headers
        self._cookies = cookies
        if status not in _EMPTY:
            headers["content-length"] = str(len(body))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer: Answer | None = scope.get(ANSWER)
        if answer is not None and can_write_now(scope):
            answer(self.status_code, self._head(), self.body)
            return
        self.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self._lines()]
        await super().__call__(scope, receive, send)

    def _head(self) -> bytes:
        lines = self._lines()
        head = "".join([f"{name}: {value}\r\n" for name, value in lines])
        # None of them may end a line by itself, and begin another.
        if head.count("\r") != len(lines) or head.count("\n") != len(lines) or "\0" in head:
            raise ValueError("a header of more than one line")
        return head.encode("latin-1")

    def _lines(self) -> Collection[tuple[str, str]]:
        if not self._cookies:
            return self.named.items()
        return [*self.named.items(), *(("set-cookie", value) for value in self._cookies)]
