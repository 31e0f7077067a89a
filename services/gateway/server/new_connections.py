"""Ends a listening socket without losing connections that wait to be accepted.

The kernel resets every connection that it has established and the process has not accepted when the socket ends. A
proxy has sent a request over it by then, and does not repeat one that may have taken effect: its client gets a 502. An
event loop looks for new connections once in a turn, and may close a socket a turn later still.
"""

import asyncio
import select
import socket
from collections.abc import Iterable

# Seconds after which connections may be lost, if there is no moment without one that waits.
_PATIENCE = 1.0
# Turns of the event loop from the acceptance of a connection until its server knows it.
_TURNS = 3


async def stop_listening(listening: socket.socket, servers: Iterable[asyncio.Server]) -> None:
    """Has the servers accept what waits, then refuses connections at once. They are closed; the socket is not."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE
    quiet = 0
    while quiet < _TURNS and loop.time() < deadline:
        await asyncio.sleep(0)
        quiet = 0 if _someone_waits(listening) else quiet + 1
    # No await in between: the servers would find an error in the socket.
    listening.shutdown(socket.SHUT_RDWR)
    for server in servers:
        server.close()


def _someone_waits(listening: socket.socket) -> bool:
    poll = select.poll()
    poll.register(listening, select.POLLIN)
    return bool(poll.poll(0))
