"""A response without an end of its own: lean, since thousands of them are open, and ended when its client is gone."""

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.types import Receive, Scope, Send

from services.gateway.http.endpoint import StreamBody

# Put into the scope by the protocols on the wire: closes the connection at once, with what is still to be sent.
ABORT: Final = "vestnik.abort"
# The same: writes more of an answer that goes on, where it is taken at once. (bytes) -> None.
MORE: Final = "vestnik.more"


class StreamingReply:
    status_code: Final = 200

    def __init__(self, stream: StreamBody, headers: dict[str, str]) -> None:
        """`headers`: their names in lower case; more may be added until it is sent."""
        self.named = headers
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.named.items()]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        if scope["method"] != "HEAD":
            gone = asyncio.ensure_future(_gone(receive))
            try:
                await self._stream.send(scope, gone, send)
            finally:
                gone.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def abort(scope: Scope) -> None:
    """Closes a connection that takes nothing any more; what it has not taken is thrown away."""
    closing: Callable[[], None] | None = scope.get(ABORT)
    if closing is not None:
        closing()
