"""Send queue of a stream: parts that become ready in one iteration of the event loop are sent as one message."""

import asyncio

from grpclib.exceptions import StreamTerminatedError
from grpclib.protocol import Stream
from h2.exceptions import H2Error

from contracts.errors import error_text
from infra.rpc.transport.framing import frame

# Bytes of one message, unless a single part is larger, so that a large answer does not delay small ones for long.
_LARGEST = 256 * 1024
# Queued bytes above which `room` waits, so that no more is read from the other end.
_MOST = 4 * 1024 * 1024


class SendQueue:
    def __init__(self) -> None:
        self._parts: dict[int, bytes] = {}
        self._size = 0
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def put(self, key: int, part: bytes) -> None:
        """Queues the part for sending; `key` is unique among the queued parts."""
        self._parts[key] = part
        self._size += len(part)
        if self._size > _MOST:
            self._room.clear()
        self._ready.set()

    def take_back(self, key: int) -> bool:
        """Removes a part that has not been sent yet; returns whether it was still queued."""
        part = self._parts.pop(key, None)
        if part is None:
            return False
        self._count_off(part)
        return True

    def close(self) -> None:
        """Ends the queue: no part may follow, and `send_to` returns once all are sent."""
        self._closed = True
        self._ready.set()

    async def room(self) -> None:
        """Waits until the queue has room."""
        await self._room.wait()

    async def send_to(self, stream: Stream) -> None:
        """Sends until the queue is closed, as fast as the other end reads.

        Raises:
            StreamTerminatedError: the stream has ended.
        """
        try:
            while True:
                # The wait takes an iteration of the loop, so parts that became ready together are all queued by now.
                await self._ready.wait()
                while self._parts:
                    await stream.send_data(frame(self._next()))
                if self._closed:
                    return
                self._ready.clear()
        except H2Error as error:
            # The other end has reset the stream, and this side has not processed that yet.
            raise StreamTerminatedError(error_text(error)) from error

    def _next(self) -> bytes:
        if self._size <= _LARGEST:
            message = b"".join(self._parts.values())
            self._parts.clear()
            self._size = 0
            self._room.set()
            return message
        taken: list[bytes] = []
        length = 0
        for key, part in list(self._parts.items()):
            if taken and length + len(part) > _LARGEST:
                break
            taken.append(part)
            length += len(part)
            del self._parts[key]
            self._count_off(part)
        return b"".join(taken)

    def _count_off(self, part: bytes) -> None:
        self._size -= len(part)
        if self._size <= _MOST:
            self._room.set()
