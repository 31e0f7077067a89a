"""A client of the live events: server-sent events over a real socket, as in a browser."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

Json = dict[str, Any]


class Event(msgspec.Struct, frozen=True):
    id: str
    type: str
    data: Json


class Refused(Exception):
    """The server answered with a problem instead of events."""

    def __init__(self, status: int, problem: Json) -> None:
        super().__init__(f"{status} {problem}")
        self.status = status
        self.problem = problem


class Stream:
    """One connection to `GET /v1/events`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._rest = b""
        self.headers: dict[str, str] = {}
        # The last position received, with or without an event.
        self.id = ""
        self.events: list[Event] = []
        self.comments = 0
        # Whether the server ended the response properly.
        self.finished = False

    async def head(self) -> int:
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        return int(lines[0].split()[1])

    async def body(self) -> bytes:
        return await self._reader.readexactly(int(self.headers["content-length"]))

    async def read(self) -> bool:
        """Reads the next chunk; returns False at the end of the stream."""
        size = await self._reader.readline()
        if not size:
            return False
        chunk = (await self._reader.readexactly(int(size, 16) + 2))[:-2]
        if not chunk:
            self.finished = True
            return False
        *blocks, self._rest = (self._rest + chunk).split(b"\n\n")
        for block in blocks:
            self._take(block.decode())
        return True

    async def until(self, condition: Callable[["Stream"], bool], within: float = 60.0) -> None:
        """Reads until the condition holds; fails after `within` seconds, or if the stream ends before."""
        async with asyncio.timeout(within):
            while not condition(self):
                assert await self.read(), f"ended after {self.events}"

    async def until_end(self, within: float = 60.0) -> None:
        async with asyncio.timeout(within):
            while await self.read():
                pass

    def pause(self) -> None:
        """Stops reading from the socket, like a client that hangs."""
        cast(asyncio.ReadTransport, self._writer.transport).pause_reading()

    def resume(self) -> None:
        cast(asyncio.ReadTransport, self._writer.transport).resume_reading()

    def close(self) -> None:
        self._writer.transport.abort()
        self._writer.close()

    def _take(self, block: str) -> None:
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
            else:
                self.comments += 1
        self.id = fields.get("id", self.id)
        if "data" in fields:
            self.events.append(Event(self.id, fields["event"], msgspec.json.decode(fields["data"])))


async def connect(
    url: str, token: str, *, since: str = "", last_event_id: str = "", query: Mapping[str, str] | None = None
) -> Stream:
    """Opens the stream; returns once the first position has arrived.

    Raises:
        Refused: the server answered with a problem.
    """
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=2**22)
    params = {**({"since": since} if since else {}), **(query or {})}
    path = "/v1/events" + ("?" + "&".join(f"{name}={value}" for name, value in params.items()) if params else "")
    lines = [f"GET {path} HTTP/1.1", f"Host: {address.netloc}", f"Authorization: Bearer {token}"]
    if last_event_id:
        lines.append(f"Last-Event-ID: {last_event_id}")
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    stream = Stream(reader, writer)
    try:
        status = await stream.head()
        if status != 200:
            raise Refused(status, msgspec.json.decode(await stream.body()))
        # Everything after the first position is delivered.
        await stream.until(lambda opened: bool(opened.id))
    except BaseException:
        stream.close()
        raise
    return stream


@asynccontextmanager
async def listening(
    url: str, token: str, *, since: str = "", last_event_id: str = "", query: Mapping[str, str] | None = None
) -> AsyncIterator[Stream]:
    stream = await connect(url, token, since=since, last_event_id=last_event_id, query=query)
    try:
        yield stream
    finally:
        stream.close()
