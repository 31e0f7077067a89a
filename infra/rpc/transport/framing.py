"""Reads messages from a gRPC stream, checking each frame before using it.

The library fails an assertion on a truncated frame, accepts any length, and answers the caller's errors with INTERNAL.
Here all of these are reported as the caller's errors.
"""

from typing import Any

from grpclib.protocol import Stream as Bytes
from grpclib.server import Stream as ServerStream

from contracts.errors import Invalid

Stream = ServerStream[Any, Any]

_PREFIX = 5
# The gateway accepts at most 64 KiB per client request; this is far above any message made from one.
LARGEST_MESSAGE = 1024 * 1024


async def receive(stream: Stream) -> Any:  # noqa: ANN401 - a message of whatever type the method takes
    """The next message; None if the caller has ended the stream.

    Raises:
        Invalid: the frame is truncated, compressed or too large, or holds no message of the method's type.
    """
    payload = await read_frame(stream._stream, LARGEST_MESSAGE)
    if payload is None:
        return None
    return stream._codec.decode(payload, stream._recv_type)


async def read_frame(stream: Bytes, largest: int) -> bytes | None:
    """The bytes of the next message; None if the other end has ended the stream.

    Raises:
        Invalid: the frame is truncated, compressed, or holds more than `largest` bytes.
    """
    prefix = await _read(stream, _PREFIX)
    if not prefix:
        return None
    if prefix[0]:
        raise Invalid("Compressed messages are not accepted.")
    length = int.from_bytes(prefix[1:], "big")
    if length > largest:
        raise Invalid(f"The message is larger than {largest} bytes.")
    payload = await _read(stream, length)
    if len(payload) != length:
        raise Invalid("The message is truncated.")
    return payload


def frame(message: bytes) -> bytes:
    """The message with its gRPC frame prefix."""
    return b"\0" + len(message).to_bytes(4, "big") + message


async def _read(stream: Bytes, size: int) -> bytes:
    try:
        return bytes(await stream.recv_data(size))
    except AssertionError as error:
        # The library's reaction to a stream that ends within the requested bytes.
        raise Invalid("The message is truncated.") from error
