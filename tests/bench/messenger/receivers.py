"""Live streams of all users, one per user, read at the level of bytes."""

import asyncio
import time
from collections import defaultdict
from typing import cast

import msgspec

from tests.bench.messenger.wire import address
from tests.bench.messenger.world import Person


class _Sent(msgspec.Struct):
    conversation_id: str
    sequence: int
    text: str


_SENT = msgspec.json.Decoder(_Sent)
_KIND = b"event: message.sent"
_DATA = b"data: "


class Receivers:
    """What came in: when, by the number that each message's text begins with."""

    def __init__(self) -> None:
        # Number of a message to how often and when (last) each came, in seconds of the performance counter.
        self.arrived: dict[int, list[float]] = defaultdict(list)
        self.sequences: dict[str, list[int]] = defaultdict(list)
        self._streams: list[_Stream] = []

    async def listen(self, url: str, people: list[Person]) -> None:
        """Opens a stream for each; returns when all of them have begun."""
        host, port = address(url)
        loop = asyncio.get_running_loop()
        for person in people:
            _, stream = await loop.create_connection(lambda: _Stream(self), host, port)
            self._streams.append(stream)
            stream.ask(f"{host}:{port}", person)
        async with asyncio.timeout(60):
            await asyncio.gather(*(stream.begun for stream in self._streams))

    def close(self) -> None:
        for stream in self._streams:
            stream.close()
        self._streams.clear()

    def take(self, person: str, data: bytes) -> None:
        now = time.perf_counter()
        sent = _SENT.decode(data)
        number = sent.text.partition(" ")[0]
        if number.isdigit():
            self.arrived[int(number)].append(now)
        self.sequences[f"{person} {sent.conversation_id}"].append(sent.sequence)


class _Stream(asyncio.Protocol):
    def __init__(self, receivers: Receivers) -> None:
        self._receivers = receivers
        self._left = b""
        self._kind = b""
        self._person = ""
        self._transport: asyncio.WriteTransport | None = None
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def ask(self, host: str, person: Person) -> None:
        assert self._transport is not None
        self._person = person.user_id
        self._transport.write(
            f"GET /v1/events HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n"
            f"Authorization: Bearer {person.token}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if not self.begun.done():
            if not data.startswith(b"HTTP/1.1 200"):
                self.begun.set_exception(ConnectionError(data[:200].decode("latin-1")))
                return
            self.begun.set_result(None)
        *lines, self._left = (self._left + data).split(b"\n")
        for raw in lines:
            line = raw.rstrip(b"\r")
            if line.startswith(b"event: "):
                self._kind = line
            elif line.startswith(_DATA) and self._kind == _KIND:
                self._receivers.take(self._person, line[len(_DATA) :])

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.begun.done():
            self.begun.set_exception(ConnectionError(str(exc or "the stream ended before it began")))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
