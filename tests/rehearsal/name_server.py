"""A DNS server for the hosts: answers the names of the compose file as the engine's own resolver does.

A name has the addresses of the running hosts that bear it, in the networks that they share with the host that asks.
"""

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import cast

# By the address of the host that asks, and the name: addresses; None: there is no such name.
Resolve = Callable[[str, str], Sequence[str] | None]
_HEADER = struct.Struct(">HHHHHH")
_ANSWER, _NO_SUCH_NAME = 0x8580, 0x8583
_A, _IN = 1, 1


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        try:
            answer = respond(data, addr[0], self._resolve)
        except (struct.error, IndexError, UnicodeDecodeError):
            return
        self._transport.sendto(answer, addr)


def respond(query: bytes, asker: str, resolve: Resolve) -> bytes:
    """The answer to a query of one question; for types other than A it is empty."""
    number, *_ = _HEADER.unpack_from(query)
    labels, offset = [], _HEADER.size
    while size := query[offset]:
        labels.append(query[offset + 1 : offset + 1 + size].decode("ascii"))
        offset += size + 1
    question = query[_HEADER.size : offset + 5]
    kind, _ = struct.unpack_from(">HH", query, offset + 1)
    addresses = resolve(asker, ".".join(labels).lower())
    found = addresses if addresses and kind == _A else ()
    flags = _NO_SUCH_NAME if addresses is None else _ANSWER
    # The name is at the beginning of the question; no resolver keeps the answer.
    records = [
        struct.pack(">HHHIH", 0xC000 | _HEADER.size, _A, _IN, 0, 4) + bytes(map(int, address.split(".")))
        for address in found
    ]
    return _HEADER.pack(number, flags, 1, len(records), 0, 0) + question + b"".join(records)


async def serve(resolve: Resolve) -> asyncio.DatagramTransport:
    """Serves on port 53 of every address until the transport is closed."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Protocol(resolve), local_addr=("0.0.0.0", 53))
    return transport
