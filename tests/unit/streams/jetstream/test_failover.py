"""What a connection that is lost leaves behind."""

import asyncio

from streams.jetstream.client import Client

_INFO = b'INFO {"server_id":"S","version":"2.12.0","headers":true,"max_payload":1048576}\r\n'
# More than the buffers of both ends hold, so that the client has to wait with the rest.
_PIECE, _PIECES = b"x" * 64 * 1024, 500


class Server:
    """Answers as NATS does at the beginning; the first connection is then read no further, until it is cut."""

    def __init__(self) -> None:
        self.cut = asyncio.Event()
        # Of the later connections, up to the first subject `after`.
        self.later = b""
        self.has_after = asyncio.Event()
        self._connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        is_first = self._connections == 1
        writer.write(_INFO)
        while line := await reader.readline():
            if line == b"PING\r\n":
                writer.write(b"PONG\r\n")
                if is_first:
                    await self.cut.wait()
                    writer.transport.abort()
                    return
            self.later += line
            if b"after" in line:
                self.has_after.set()
        writer.close()


async def test_messages_pending_when_the_connection_was_lost_are_not_sent_on_the_next_one() -> None:
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    client, again = Client(), asyncio.Event()

    async def reconnected() -> None:
        again.set()

    async with asyncio.timeout(60):
        await client.connect(
            f"nats://127.0.0.1:{port}", max_reconnect_attempts=-1, reconnect_time_wait=0, reconnected_cb=reconnected
        )
        for _ in range(_PIECES):
            await client.publish("before", _PIECE)
            # Now and then the flusher writes what is pending, until the socket is no longer writable.
            await asyncio.sleep(0)
            if client.pending_data_size > len(_PIECE):
                break
        assert client.pending_data_size
        server.cut.set()
        await again.wait()
        await client.publish("after", b"")
        await server.has_after.wait()
    assert b"before" not in server.later
    await client.close()
    listening.close()
