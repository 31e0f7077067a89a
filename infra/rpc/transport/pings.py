"""HTTP/2 PINGs over a connection: whether the other end's event loop turns, however busy its handlers are."""

import struct
import weakref
from collections.abc import Callable
from typing import Self

from grpclib.protocol import Connection

_PAYLOAD = struct.Struct("!Q")


class Pings:
    """The PINGs of one connection; `Pings.of(connection)` returns them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._listeners: weakref.WeakSet[PingListener] = weakref.WeakSet()
        acknowledged = connection.ping_ack_process

        def process() -> None:
            acknowledged()
            for listener in list(self._listeners):
                listener.answered()

        connection.ping_ack_process = process  # type: ignore[method-assign]  # the library has no other hook

    @classmethod
    def of(cls, connection: Connection) -> Self:
        """The connection's PINGs; they live as long as the connection."""
        shared: dict[str, Self] = vars(connection)
        return shared.get("_vestnik_pings") or shared.setdefault("_vestnik_pings", cls(connection))

    def listen(self, listener: "PingListener") -> None:
        """Calls the listener at each answer, while it exists."""
        self._listeners.add(listener)

    def send(self) -> None:
        """Sends a PING, unless the connection is closing."""
        if self._connection.is_closing():
            return
        self._connection._connection.ping(_PAYLOAD.pack(0))
        self._connection.flush()


class PingListener:
    """Calls a function at each answer to a PING."""

    def __init__(self, answered: Callable[[], None]) -> None:
        self.answered = answered
