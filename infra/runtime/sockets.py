"""Listening sockets, opened by ourselves where a library cannot be told how."""

import socket

BACKLOG = 2048


def open_listener(host: str, port: int, *, shared: bool) -> socket.socket:
    """Listens on the address; `shared`: somebody holds the port for us (SO_REUSEPORT).

    Raises:
        OSError: the address is in use, or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=shared)
