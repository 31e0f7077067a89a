"""A connection's transport: what is written in one turn is one piece, and nothing is written where nobody reads."""

import asyncio

from services.gateway.server.coalescing_transport import CoalescingTransport


class Inner(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.pieces.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0


def opened() -> tuple[Inner, CoalescingTransport]:
    inner = Inner()
    return inner, CoalescingTransport(inner, asyncio.get_running_loop(), 60.0)


async def test_what_is_written_in_one_turn_goes_out_as_one_piece_in_its_order() -> None:
    inner, transport = opened()
    for turn in (b"1", b"2"):
        transport.write(b"head" + turn)
        transport.write(b"body" + turn)
        assert transport.get_write_buffer_size() == 10
        await asyncio.sleep(0)
        assert transport.get_write_buffer_size() == 0
    assert inner.pieces == [b"head1body1", b"head2body2"]


async def test_what_was_written_before_closing_is_handed_over_first() -> None:
    inner, transport = opened()
    transport.write(b"last")
    transport.close()
    transport.connection_lost()
    await asyncio.sleep(0)
    assert inner.pieces == [b"last"]


async def test_nothing_is_written_to_a_connection_that_has_broken_meanwhile() -> None:
    for end in (Inner.close, Inner.abort):
        inner, transport = opened()
        transport.write(b"answer")
        end(inner)
        await asyncio.sleep(0)
        assert inner.pieces == []
    inner, transport = opened()
    transport.write(b"answer")
    transport.abort()
    await asyncio.sleep(0)
    assert inner.pieces == []
