"""The gateway's listening socket, opened by the supervisor: a restart of the gateway refuses no connections."""

import errno
import socket

from infra.operator_errors import OperatorError
from infra.runtime.sockets import open_listener


class PortUnusable(OperatorError):
    """The gateway cannot listen on its address."""


def listen(host: str, port: int) -> socket.socket:
    """Opens the socket; port 0 selects a free one.

    Raises:
        PortUnusable: the port is in use or not permitted, or the address is not local.
    """
    try:
        return open_listener(host, port, shared=False)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortUnusable(f"port {port} is in use; choose another with --port or VESTNIK_PORT") from None
        if error.errno == errno.EACCES:
            raise PortUnusable(f"port {port} may not be used without more rights; choose one above 1023") from None
        raise PortUnusable(f"cannot listen on {host}:{port}: {error.strerror}") from None
