"""Transport wrapper that coalesces writes and aborts connections that do not close in time.

A closed transport first flushes its write buffer. A peer that reads nothing would keep that buffer, and its connection
slot, forever.
"""

import asyncio

# Bytes buffered in one loop iteration above which the connection counts as not writable.
MOST_HELD = 64 * 1024


class CoalescingTransport(asyncio.Transport):
    """Joins the writes of one event loop iteration; aborts if the connection is not gone some seconds after `close`.

    A response's head and body go out in one write: each costs the kernel and the reader as much as making the response.
    """

    __slots__ = ("_abort", "_held", "_inner", "_loop", "_lost", "_patience", "buffered")

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop, patience: float) -> None:
        self._inner = inner
        self._loop = loop
        self._patience = patience
        self._abort: asyncio.TimerHandle | None = None
        self._lost = False
        self._held: list[bytes | bytearray | memoryview] = []
        # Bytes written at the end of this loop iteration.
        self.buffered = 0

    def connection_lost(self) -> None:
        """Call when the connection is lost."""
        self._lost = True
        self._drop()
        if self._abort is not None:
            self._abort.cancel()
            self._abort = None

    def close(self) -> None:
        self._flush()
        self._inner.close()
        if self._abort is None and not self._lost:
            self._abort = self._loop.call_later(self._patience, self._inner.abort)

    def abort(self) -> None:
        self._drop()
        self._inner.abort()

    def is_closing(self) -> bool:
        return self._inner.is_closing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._inner.is_closing():
            # The inner transport handles writes after `close`.
            self._inner.write(data)
            return
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self.buffered += len(data)

    def _flush(self) -> None:
        held, self._held, self.buffered = self._held, [], 0
        # The connection may have been lost since the write: drop the data.
        if held and not self._inner.is_closing():
            self._inner.write(held[0] if len(held) == 1 else b"".join(held))

    def _drop(self) -> None:
        self._held.clear()
        self.buffered = 0

    def pause_reading(self) -> None:
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        self._inner.resume_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._inner.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._inner.get_protocol()

    def get_write_buffer_size(self) -> int:
        return self.buffered + self._inner.get_write_buffer_size()

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._inner.get_extra_info(name, default)
