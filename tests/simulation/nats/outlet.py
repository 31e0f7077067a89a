"""What the simulated server sends: messages to subscriptions, answers of the API, status messages."""

import json
from typing import Any, Protocol

from tests.simulation.nats.store import Headers
from tests.simulation.network import Network

# Seconds until the answer of the API leaves, at most.
_ANSWER = 0.002


class Receiver(Protocol):
    """A client's connection."""

    def deliver(self, inbox: str, subject: str, reply: str, block: bytes, data: bytes) -> None: ...


class Outlet:
    def __init__(self, network: Network) -> None:
        self._loop = network.loop
        self._rng = network.rng
        # In the order in which they came: with a set, runs would differ.
        self._connections: dict[Receiver, None] = {}

    def add(self, connection: Receiver) -> None:
        self._connections[connection] = None

    def remove(self, connection: Receiver) -> None:
        self._connections.pop(connection, None)

    def send(self, inbox: str, subject: str, reply: str, block: bytes, data: bytes) -> None:
        """Sends a message to every subscription on the inbox; `subject`: the subject that the message names."""
        for connection in self._connections:
            connection.deliver(inbox, subject, reply, block, data)

    def answer(self, reply: str, answer: dict[str, Any]) -> None:
        if reply:
            data = json.dumps(answer).encode()
            self._loop.call_later(self._rng.random() * _ANSWER, self.send, reply, reply, "", b"", data)

    def status(self, reply: str, line: str, headers: Headers | None = None) -> None:
        """Sends a message without content, such as `404 Message Not Found`."""
        if reply:
            lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
            self.send(reply, reply, "", f"NATS/1.0 {line}\r\n{lines}\r\n".encode(), b"")
