"""Listening sockets, for libraries that cannot be given our socket options."""

import socket

BACKLOG = 2048


def open_listener(host: str, port: int, *, shared: bool) -> socket.socket:
    """Listens on the address. `shared`: another process holds the port for this one (SO_REUSEPORT).

    Raises:
        OSError: the address is in use or not local.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=shared)
