"""A DNS server for the hosts: answers the names of the compose file as the engine's own resolver does.

A name has the addresses of the running hosts that bear it, in the networks that they share with the host that asks.
"""

import socket
import struct
import threading
from collections.abc import Callable, Sequence

# By the address of the host that asks, and the name: addresses; None: there is no such name.
Resolve = Callable[[str, str], Sequence[str] | None]
_HEADER = struct.Struct(">HHHHHH")
_ANSWER, _NO_SUCH_NAME = 0x8580, 0x8583
_A, _IN = 1, 1
_LONGEST, _LOOK_EVERY = 4096, 0.5


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
    resolved = addresses if addresses and kind == _A else ()
    flags = _NO_SUCH_NAME if addresses is None else _ANSWER
    # The name is at the beginning of the question; no resolver keeps the answer.
    records = [
        struct.pack(">HHHIH", 0xC000 | _HEADER.size, _A, _IN, 0, 4) + bytes(map(int, address.split(".")))
        for address in resolved
    ]
    return _HEADER.pack(number, flags, 1, len(records), 0, 0) + question + b"".join(records)


class NameServer:
    """Serves on port 53 of every address, in a thread: hosts find each other while clients keep the loop busy."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("0.0.0.0", 53))
        self._socket.settimeout(_LOOK_EVERY)
        self._is_closed = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._is_closed = True
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._is_closed:
            try:
                query, asker = self._socket.recvfrom(_LONGEST)
                self._socket.sendto(respond(query, asker[0], self._resolve), asker)
            except (OSError, struct.error, IndexError, UnicodeDecodeError):
                continue  # nothing was asked, or what is no query, or the host that asked is cut off
