"""A connection to one address of a service, made when it is needed and made anew when it was lost."""

from grpclib.client import Channel as LibraryChannel
from grpclib.protocol import H2Protocol


class Channel(LibraryChannel):
    async def __connect__(self) -> H2Protocol:
        """As the library's, which hands out a connection also where it was lost between its making and this moment.

        A process that is killed resets what the kernel has accepted for it; a call on such a connection would end in
        an error that says nothing.

        Raises:
            OSError: there is no connection; nothing was sent.
        """
        protocol = await super().__connect__()
        if not self._connected:
            raise ConnectionResetError("the connection was lost as soon as it was made")
        return protocol
