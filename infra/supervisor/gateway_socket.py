"""The gateway's listening socket: opened here and inherited, so that a restart of the gateway refuses nobody."""

import errno
import socket

from infra.operator_errors import OperatorError
from infra.runtime.sockets import open_listener


class PortUnusable(OperatorError):
    """The gateway's address cannot be listened on."""


def listen(host: str, port: int) -> socket.socket:
    """Opens the socket; port 0 picks a free one.

    Raises:
        PortUnusable: the port is in use, or the address is not ours.
    """
    try:
        return open_listener(host, port, shared=False)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortUnusable(f"port {port} is in use; choose another with --port or VESTNIK_PORT") from None
        if error.errno == errno.EACCES:
            raise PortUnusable(f"port {port} may not be used without more rights; choose one above 1023") from None
        raise PortUnusable(f"cannot listen on {host}:{port}: {error.strerror}") from None
