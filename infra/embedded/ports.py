"""Free TCP ports that stay free for us while a process restarts.

The kernel gives outgoing connections ports of its ephemeral range (32768 upwards); a port from there could be gone
when its server comes back a second later. These lie below that range.
"""

import random
import socket

from infra.operator_errors import OperatorError

LOWEST, HIGHEST = 20_000, 32_000
_GIVEN: set[int] = set()


class NoFreePort(OperatorError):
    """No free TCP port was found on the loopback address."""

    def __init__(self) -> None:
        super().__init__(f"no TCP port between {LOWEST} and {HIGHEST} is free on the loopback address")


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """That many different ports, each free at this moment and not given out by this process before.

    A port is free until its server listens: whoever asks next must not be given the same.
    """
    found: list[int] = []
    for port in random.sample(range(LOWEST, HIGHEST), HIGHEST - LOWEST):
        if port not in _GIVEN and is_free(port):
            found.append(port)
            if len(found) == count:
                _GIVEN.update(found)
                return found
    if _GIVEN:
        # All of them were given out once: those of long ago are free again.
        _GIVEN.clear()
        return free_ports(count)
    raise NoFreePort


def reserve_ports(count: int) -> list[socket.socket]:
    """Sockets that hold that many ports for as long as they are open, so that a restarted process finds its own.

    They do not listen: while the process is away its callers are refused at once and go elsewhere. Only a socket of
    the same user that asks to share the port (SO_REUSEPORT) can be bound beside one.
    """
    held: list[socket.socket] = []
    for port in random.sample(range(LOWEST, HIGHEST), HIGHEST - LOWEST):
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            holder.bind(("127.0.0.1", port))
        except OSError:
            holder.close()
            continue
        # After the bind, which therefore met nobody; sharing begins here.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.append(holder)
        if len(held) == count:
            return held
    for holder in held:
        holder.close()
    raise NoFreePort


def free_port() -> int:
    return free_ports(1)[0]
