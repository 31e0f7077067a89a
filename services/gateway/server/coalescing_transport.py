"""What a connection is written to: in few pieces, and closed also where it does not let itself be closed.

A closed transport first hands over what it still holds. A peer that reads nothing would keep it, and the memory and
the place among the connections with it, for ever.
"""

import asyncio

# Bytes written in one turn, above which a client takes nothing more at once: it has yet to be seen whether it reads.
MOST_HELD = 64 * 1024


class CoalescingTransport(asyncio.Transport):
    """A transport that is aborted when it is not gone some seconds after it was closed.

    What is written in one turn of the event loop, such as an answer's head and body, goes out as one piece: each piece
    costs the kernel, and whoever reads it, as much as the answer took to make.
    """

    __slots__ = ("_abort", "_held", "_inner", "_loop", "_lost", "_patience", "buffered")

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop, patience: float) -> None:
        self._inner = inner
        self._loop = loop
        self._patience = patience
        self._abort: asyncio.TimerHandle | None = None
        self._lost = False
        self._held: list[bytes | bytearray | memoryview] = []
        # Bytes that go out at the end of this turn.
        self.buffered = 0

    def connection_lost(self) -> None:
        """To be called when the connection is gone."""
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
            # It knows what to say to whoever writes to it now.
            self._inner.write(data)
            return
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self.buffered += len(data)

    def _flush(self) -> None:
        held, self._held, self.buffered = self._held, [], 0
        # The connection may have broken in this very turn: nobody can be told any more.
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
