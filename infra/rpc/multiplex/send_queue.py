"""What is to go out on a stream: what is ready in one turn of the event loop goes as one message."""

import asyncio

from grpclib.exceptions import StreamTerminatedError
from grpclib.protocol import Stream
from h2.exceptions import H2Error

from infra.rpc.transport.framing import frame

# Bytes of one message, unless a single part is larger: a large answer shall not keep the small ones waiting for long.
_LARGEST = 256 * 1024
# Bytes that wait at most before nothing more is taken from the other end.
_MOST = 4 * 1024 * 1024


class SendQueue:
    def __init__(self) -> None:
        self._parts: dict[int, bytes] = {}
        self._size = 0
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False

    def put(self, key: int, part: bytes) -> None:
        """Sends the part soon; `key`: no other part that still waits has it."""
        self._parts[key] = part
        self._size += len(part)
        if self._size > _MOST:
            self._room.clear()
        self._ready.set()

    def take_back(self, key: int) -> bool:
        """Whether the part was still here, and is not sent now."""
        part = self._parts.pop(key, None)
        if part is None:
            return False
        self._count_off(part)
        return True

    def close(self) -> None:
        """Nothing is put any more; `send_to` ends when all of it is on its way."""
        self._closed = True
        self._ready.set()

    async def room(self) -> None:
        """Waits until what is here is little enough for more."""
        await self._room.wait()

    async def send_to(self, stream: Stream) -> None:
        """Sends for as long as the box is open, as fast as the other end takes it.

        Raises:
            StreamTerminatedError: the stream is gone.
        """
        try:
            while True:
                # A turn of the loop lies between the first part and this: what became ready with it has come by now.
                await self._ready.wait()
                while self._parts:
                    await stream.send_data(frame(self._next()))
                if self._closed:
                    return
                self._ready.clear()
        except H2Error as error:
            # The other end has reset it, and it is not told here as yet.
            raise StreamTerminatedError(str(error) or type(error).__name__) from error

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
