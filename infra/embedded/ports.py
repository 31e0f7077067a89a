"""Free TCP ports that stay free while a process restarts.

The kernel gives outgoing connections ports of its ephemeral range (32768 upwards), so a port from there could be taken
when its server returns a second later. These ports are below that range.
"""

import random
import socket

from contracts.services import BESIDE
from infra.operator_errors import OperatorError

LOWEST, HIGHEST = 20_000, 32_000
# In the order of their return.
_GIVEN: dict[int, None] = {}


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
    """Returns `count` different ports, each free now and not returned by this process before.

    A port stays free until its server listens, so the next caller must not get the same one. Nor may it get the port
    `BESIDE` above or below it, where the process that listens on the one offers its metrics.

    Raises:
        NoFreePort: there are not enough.
    """
    ports: list[int] = []
    taken = set(_GIVEN)
    for port in random.sample(range(LOWEST, HIGHEST), HIGHEST - LOWEST):
        if taken.isdisjoint((port - BESIDE, port, port + BESIDE)) and is_free(port):
            ports.append(port)
            taken.add(port)
            if len(ports) == count:
                _GIVEN.update(dict.fromkeys(ports))
                return ports
    if _GIVEN:
        # The earliest are likely free again.
        for port in list(_GIVEN)[: (len(_GIVEN) + 1) // 2]:
            del _GIVEN[port]
        return free_ports(count)
    raise NoFreePort


def reserve_ports(count: int) -> list[socket.socket]:
    """Returns sockets that hold `count` ports while they are open, so that a restarted process gets its own again.

    They do not listen: while the process is away, its callers are refused immediately and use another replica. Only a
    socket of the same user with SO_REUSEPORT can bind the same port.

    Raises:
        NoFreePort: there are not enough.
    """
    held: list[socket.socket] = []
    for port in random.sample(range(LOWEST, HIGHEST), HIGHEST - LOWEST):
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            holder.bind(("127.0.0.1", port))
        except OSError:
            holder.close()
            continue
        # Set after the bind, so that the bind fails if the port is in use; sharing starts here.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.append(holder)
        if len(held) == count:
            return held
    for holder in held:
        holder.close()
    raise NoFreePort


def free_port() -> int:
    return free_ports(1)[0]
