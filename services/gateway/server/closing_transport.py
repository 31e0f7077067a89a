"""Transport wrapper that aborts connections that do not close in time.

A closed transport first flushes its write buffer. A peer that reads nothing would keep that buffer, and its connection
slot, forever.
"""

import asyncio
from typing import Any


class ClosingTransport:
    """A transport that aborts if the connection is not gone some seconds after `close`."""

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop, patience: float) -> None:
        self._inner = inner
        self._loop = loop
        self._patience = patience
        self._abort: asyncio.TimerHandle | None = None
        self._lost = False
        self.write, self.is_closing = inner.write, inner.is_closing

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - everything else is the inner transport's
        return getattr(self._inner, name)

    def close(self) -> None:
        self._inner.close()
        if self._abort is None and not self._lost:
            self._abort = self._loop.call_later(self._patience, self._inner.abort)

    def connection_lost(self) -> None:
        """Call when the connection is lost."""
        self._lost = True
        if self._abort is not None:
            self._abort.cancel()
            self._abort = None
