"""A connection that was closed is aborted if its peer does not read what was written."""

import asyncio
from typing import cast

from services.gateway.server.closing_transport import ClosingTransport


class Inner(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.aborted = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.calls.append(f"write {bytes(data).decode()}")

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")
        self.aborted.set()

    def get_write_buffer_size(self) -> int:
        return 7


async def test_a_connection_that_stays_after_its_close_is_aborted() -> None:
    inner = Inner()
    transport = ClosingTransport(inner, asyncio.get_running_loop(), 0.01)
    transport.write(b"last")
    transport.close()
    transport.close()
    async with asyncio.timeout(60):
        await inner.aborted.wait()
    assert inner.calls == ["write last", "close", "close", "abort"]


async def test_a_connection_that_is_gone_is_not_aborted() -> None:
    inner, loop = Inner(), _Clock()
    transport = ClosingTransport(inner, cast(asyncio.AbstractEventLoop, loop), 5.0)
    transport.close()
    transport.connection_lost()
    transport.close()
    assert [timer.cancelled for timer in loop.timers] == [True]


async def test_everything_else_is_the_inner_transports() -> None:
    assert ClosingTransport(Inner(), asyncio.get_running_loop(), 5.0).get_write_buffer_size() == 7


class _Timer:
    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class _Clock:
    def __init__(self) -> None:
        self.timers: list[_Timer] = []

    def call_later(self, *_: object) -> _Timer:
        self.timers.append(_Timer())
        return self.timers[-1]
