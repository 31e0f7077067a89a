"""A listening socket ends without losing connections that wait to be accepted."""

import asyncio
import socket

import pytest

from services.gateway.server.new_connections import stop_listening


async def test_connections_that_wait_are_accepted_and_those_after_them_are_refused() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(1))
        writer.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        server = await asyncio.start_server(answer, sock=listening)
        # The event loop does not run meanwhile.
        waiting = [socket.create_connection(address) for _ in range(50)]
        await stop_listening(listening, [server])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=10)
    for connection in waiting:
        connection.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=connection)
        writer.write(b"1")
        assert await asyncio.wait_for(reader.read(), 60) == b"1"
        writer.close()
