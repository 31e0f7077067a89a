"""An open-ended response: small, since thousands of them are open, and ended when its client disconnects."""

import asyncio
from typing import Final

from starlette.types import Receive, Scope, Send

from services.gateway.http.endpoint import StreamBody
from services.gateway.http.response import REQUEST_ID


class StreamingReply:
    status_code: Final = 200

    def __init__(self, stream: StreamBody, headers: dict[str, str]) -> None:
        """`headers`: names in lower case; more may be added until the response is sent."""
        self.named = headers
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.named["x-request-id"] = scope["state"][REQUEST_ID]
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
