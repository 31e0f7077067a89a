"""WebSocket frames, byte for byte: complete texts are parsed in place, everything else by the library."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from contracts.rpc.vestnik.contact.v1 import GetFriendsResponse
from tests.integration.gateway.conftest import Harness

TEXT, CONTINUATION, BINARY, CLOSE, PING, PONG = 0x1, 0x0, 0x2, 0x8, 0x9, 0xA
FIN = 0x80
WITHIN = 60


def frame(kind: int, payload: bytes, *, final: bool = True, masked: bool = True) -> bytes:
    """A client's frame, with its length in the shortest form."""
    head = bytes((kind | (FIN if final else 0),))
    bit, length = (0x80 if masked else 0), len(payload)
    if length < 126:
        head += bytes((bit | length,))
    elif length < 1 << 16:
        head += bytes((bit | 126,)) + length.to_bytes(2, "big")
    else:
        head += bytes((bit | 127,)) + length.to_bytes(8, "big")
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def command(name: str, size: int = 0) -> bytes:
    """An unknown command, which the gateway refuses without calling a service. `size`: bytes of the message."""
    body = msgspec.json.encode({"id": name, "command": "none"})
    return body + b" " * (size - len(body))


class FrameConnection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        # Frames that arrived while one of another kind was awaited.
        self._passed_over: list[tuple[int, bytes]] = []

    async def send(self, *pieces: bytes) -> None:
        """Sends each part in a packet of its own, as far as the network permits."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def frame(self) -> tuple[int, bytes]:
        """The gateway's next frame."""
        async with asyncio.timeout(WITHIN):
            first, length = await self._reader.readexactly(2)
            if length >= 126:
                length = int.from_bytes(await self._reader.readexactly(2 if length == 126 else 8), "big")
            return first & 0x0F, await self._reader.readexactly(length)

    async def of(self, kind: int) -> bytes:
        """The gateway's next frame of this kind; live events and heartbeats are skipped."""
        kept = next((skipped for skipped in self._passed_over if skipped[0] == kind), None)
        if kept is not None:
            self._passed_over.remove(kept)
            return kept[1]
        while True:
            frame_kind, payload = await self.frame()
            if frame_kind == PING:
                await self.send(frame(PONG, payload))
            elif frame_kind == TEXT and payload.startswith(b'{"event"'):
                continue
            elif frame_kind == kind:
                return payload
            else:
                self._passed_over.append((frame_kind, payload))

    async def answers(self, count: int) -> set[str]:
        """The command ids of the next answers."""
        return {msgspec.json.decode(await self.of(TEXT))["answer"] for _ in range(count)}

    async def closed_with(self) -> int:
        return int.from_bytes((await self.of(CLOSE))[:2], "big")


@asynccontextmanager
async def connected(harness: Harness) -> AsyncIterator[FrameConnection]:
    harness.script.answers = {"get_friends": GetFriendsResponse()}
    url = harness.client.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = [
        "GET /v1/ws HTTP/1.1",
        f"Host: {url.host}:{url.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *(f"{name}: {value}" for name, value in harness.signed_in.items()),
    ]
    writer.write("\r\n".join([*head, "\r\n"]).encode())
    async with asyncio.timeout(WITHIN):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    try:
        yield FrameConnection(reader, writer)
    finally:
        writer.close()


async def test_commands_are_read_however_the_network_has_cut_or_joined_them(harness: Harness) -> None:
    async with connected(harness) as connection:
        await connection.send(b"".join(frame(TEXT, command(str(number))) for number in range(40)))
        assert await connection.answers(40) == {str(number) for number in range(40)}
        await connection.send(*(bytes((byte,)) for byte in frame(TEXT, command("in bytes", 200))))
        whole = frame(TEXT, command("one", 300)) + frame(TEXT, command("two", 70)) + frame(PING, b"still there?")
        await connection.send(whole[:5], whole[5:310], whole[310:-3], whole[-3:])
        assert await connection.answers(3) == {"in bytes", "one", "two"}
        assert await connection.of(PONG) == b"still there?"


async def test_a_command_in_parts_is_one_and_may_be_interrupted_by_a_ping(harness: Harness) -> None:
    async with connected(harness) as connection:
        text = command("in parts")
        await connection.send(
            frame(TEXT, text[:3], final=False) + frame(PING, b"1"),
            frame(CONTINUATION, text[3:9], final=False) + frame(CONTINUATION, text[9:]) + frame(TEXT, command("next")),
        )
        assert await connection.of(PONG) == b"1"
        assert await connection.answers(2) == {"in parts", "next"}


async def test_the_largest_message_is_taken_and_a_larger_one_ends_the_line(harness: Harness) -> None:
    async with connected(harness) as connection:
        await connection.send(frame(TEXT, command("largest", 64 * 1024)))
        assert await connection.answers(1) == {"largest"}
        await connection.send(frame(TEXT, command("too large", 64 * 1024 + 1)))
        assert await connection.closed_with() == 1009


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ([frame(TEXT, command("1"), masked=False)], 1002),
        ([frame(TEXT, command("1")[:3], final=False), frame(TEXT, command("2"))], 1002),
        ([frame(CONTINUATION, command("1"))], 1002),
        ([frame(TEXT | 0x40, command("1"))], 1002),
        ([frame(TEXT, b'{"id":"\xff"}')], 1007),
        ([frame(TEXT, b'{"id":"\xd0', final=False), frame(CONTINUATION, b'"}')], 1007),
        ([frame(BINARY, command("1"))], 1003),
        ([frame(CLOSE, (1000).to_bytes(2, "big"))], 1000),
    ],
)
async def test_what_is_no_text_ends_the_line_and_what_comes_behind_it_counts_for_nothing(
    harness: Harness, caplog: pytest.LogCaptureFixture, pieces: list[bytes], code: int
) -> None:
    async with connected(harness) as connection:
        await connection.send(b"".join([*pieces, frame(TEXT, command("behind"))]))
        assert await connection.closed_with() == code
    assert [record for record in caplog.records if record.exc_info] == [], "a client fills the log with stack traces"
