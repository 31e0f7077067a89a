"""Taking messages off a gRPC stream: a frame is checked before anything of it is believed.

The library's own way fails an assertion on a frame that is cut short, takes any length, and answers what the caller
did wrong with INTERNAL. Here all of that is the caller's fault, and said so.
"""

from typing import Any

from grpclib.protocol import Stream as Bytes
from grpclib.server import Stream as ServerStream

from contracts.errors import Invalid

Stream = ServerStream[Any, Any]

_PREFIX = 5
# A client's request is 64 KiB at most at the gateway; a good deal more than any message made of one.
LARGEST_MESSAGE = 1024 * 1024


async def receive(stream: Stream) -> Any:  # noqa: ANN401 - a message of whatever type the method takes
    """The next message; None where the caller has ended the stream.

    Raises:
        Invalid: the frame is cut short, compressed or too large, or holds no message of the method's type.
    """
    payload = await read_frame(stream._stream, LARGEST_MESSAGE)
    if payload is None:
        return None
    return stream._codec.decode(payload, stream._recv_type)


async def read_frame(stream: Bytes, largest: int) -> bytes | None:
    """The bytes of the next message; None where the other end has ended the stream.

    Raises:
        Invalid: the frame is cut short, compressed, or has more than so many bytes in it.
    """
    prefix = await _read(stream, _PREFIX)
    if not prefix:
        return None
    if prefix[0]:
        raise Invalid("Compressed messages are not taken.")
    length = int.from_bytes(prefix[1:], "big")
    if length > largest:
        raise Invalid(f"The message is larger than {largest} bytes.")
    payload = await _read(stream, length)
    if len(payload) != length:
        raise Invalid("The message is cut short.")
    return payload


def frame(message: bytes) -> bytes:
    """The message as it goes onto a stream."""
    return b"\0" + len(message).to_bytes(4, "big") + message


async def _read(stream: Bytes, size: int) -> bytes:
    try:
        return bytes(await stream.recv_data(size))
    except AssertionError as error:
        # What the library says of a stream that ends within what was asked for.
        raise Invalid("The message is cut short.") from error
