"""One client's connection to the simulated server, in NATS's text protocol."""

import asyncio
import json
from typing import Protocol

from tests.simulation.nats.store import Headers, matches
from tests.simulation.network import Transport

MAX_PAYLOAD = 1024 * 1024


class Server(Protocol):
    def connected(self, connection: "Connection") -> None: ...

    def disconnected(self, connection: "Connection") -> None: ...

    def publish(self, subject: str, reply: str, headers: Headers, data: bytes) -> None: ...


class Connection(asyncio.Protocol):
    """One end of a connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._subscriptions: dict[str, str] = {}
        self._left = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, Transport)
        self._transport = transport
        info = {"server_id": "S", "version": "2.15.1", "proto": 1, "headers": True, "max_payload": MAX_PAYLOAD}
        transport.write(b"INFO " + json.dumps(info).encode() + b"\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.disconnected(self)

    def data_received(self, data: bytes) -> None:
        self._left += data
        while (end := self._left.find(b"\r\n")) >= 0:
            words = self._left[:end].decode().split(" ")
            size = int(words[-1]) if words[0] in ("PUB", "HPUB") else 0
            after = end + 2 + (size + 2 if words[0] in ("PUB", "HPUB") else 0)
            if len(self._left) < after:
                return
            body, self._left = self._left[end + 2 : end + 2 + size], self._left[after:]
            self._command([token for token in words if token], body)

    def deliver(self, inbox: str, subject: str, reply: str, block: bytes, data: bytes) -> None:
        """Sends a message to the connection's subscriptions on the inbox; `subject`: the subject that it names."""
        for sid, pattern in self._subscriptions.items():
            if matches(pattern, inbox):
                head = f"{subject} {sid} {reply}".rstrip()
                if block:
                    line = f"HMSG {head} {len(block)} {len(block) + len(data)}\r\n"
                else:
                    line = f"MSG {head} {len(data)}\r\n"
                self._transport.write(line.encode() + block + data + b"\r\n")

    def _command(self, words: list[str], body: bytes) -> None:
        match words:
            case ["CONNECT", *_]:
                self._server.connected(self)
            case ["PING"]:
                self._transport.write(b"PONG\r\n")
            case ["SUB", subject, sid]:
                self._subscriptions[sid] = subject
            case ["UNSUB", sid, *_]:
                self._subscriptions.pop(sid, None)
            case ["PUB", subject, *reply, _]:
                self._server.publish(subject, "".join(reply), {}, body)
            case ["HPUB", subject, *reply, length, _]:
                block, data = body[: int(length)], body[int(length) :]
                lines = block.decode().split("\r\n")[1:-2]
                headers = dict(line.split(": ", 1) for line in lines)
                self._server.publish(subject, "".join(reply), headers, data)
