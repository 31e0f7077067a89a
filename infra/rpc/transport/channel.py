"""gRPC channel to one address of a service: connects on demand and reconnects after a loss."""

from grpclib.client import Channel as LibraryChannel
from grpclib.protocol import H2Protocol


class Channel(LibraryChannel):
    async def __connect__(self) -> H2Protocol:
        """Connects like the library, but fails if the connection was lost right after it was made.

        When a process is killed, the kernel resets the connections that it has accepted for it. A call on such a
        connection would fail with an uninformative error.

        Raises:
            OSError: there is no connection; nothing was sent.
        """
        protocol = await super().__connect__()
        if not self._connected:
            raise ConnectionResetError("the connection was lost as soon as it was made")
        return protocol
