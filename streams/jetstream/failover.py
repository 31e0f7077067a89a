"""A NATS connection that leaves a server for another one quickly, and is never closed by an error.

The client library gives up a connection after most errors that a server reports, waits for a server that accepts
no data when it leaves it, and may choose the same server again. Each of these keeps a process from its event store
while other servers of the cluster would answer.
"""

import asyncio
import json
from random import shuffle
from urllib.parse import unquote

from nats.aio.client import Client as NATS
from nats.aio.transport import TcpTransport
from nats.errors import Error

# Seconds before another attempt after an unexpected failure.
_PAUSE = 1.0
# Seconds that a server has to read what is pending when the connection is closed.
_CLOSE_SECONDS = 5.0
_PERMISSIONS = "permissions violation"
# The command that begins a connection, and what of it may come from the server's URL.
_CONNECT = b"CONNECT "
_LOGIN = ("user", "pass", "auth_token")


class FailoverClient(NATS):
    async def _attempt_reconnect(self) -> None:
        """As the library's, but the server that was left is the last one that is tried.

        What was not sent yet is dropped: its senders take it for lost, and the next server would get it before anybody
        has looked at what that has stored.
        """
        self._pending, self._pending_data_size = [], 0
        left = self._current_server
        assert left is not None
        # The library shuffles the pool here unless told not to.
        self.options["dont_randomize"] = True
        shuffle(self._server_pool)
        # By name: a server that its cluster advertises by address is in the pool twice, and may be tried again.
        self._server_pool.sort(
            key=lambda server: server.uri.port == left.uri.port and server.uri.hostname == left.uri.hostname
        )
        self._abort()
        while True:
            try:
                await super()._attempt_reconnect()
            except Exception as error:
                # The library expects only some kinds of failure: after any other it would never connect again.
                await self._error_cb(error)
                await asyncio.sleep(_PAUSE)
            else:
                return

    def _connect_command(self) -> bytes:
        """As the library's, which sends a login as it is written in the URL: percent-encoded."""
        command = bytes(super()._connect_command())
        server = self._current_server
        if self.options["user"] is not None or server is None or "%" not in server.uri.netloc:
            return command
        options = json.loads(command.removeprefix(_CONNECT))
        decoded = {name: unquote(options[name]) for name in _LOGIN if name in options}
        return _CONNECT + json.dumps(options | decoded, sort_keys=True).encode() + b"\r\n"

    async def close(self) -> None:
        """As the library's, which leaves the socket open if it was interrupted when it began to close it.

        It would also wait forever until a server that reads nothing has read what is pending; that is dropped here.
        """
        overdue = asyncio.get_running_loop().call_later(_CLOSE_SECONDS, self._abort)
        try:
            await super().close()
        finally:
            overdue.cancel()
        writer = self._writer()
        if writer is not None and not writer.is_closing():
            writer.close()

    def _abort(self) -> None:
        """Ends the connection without sending what is pending: a server that reads nothing would never get it."""
        writer = self._writer()
        if writer is not None:
            writer.transport.abort()

    def _writer(self) -> asyncio.StreamWriter | None:
        return self._transport._io_writer if isinstance(self._transport, TcpTransport) else None

    async def _process_err(self, err_msg: str) -> None:
        """Reconnects after an error that ends the connection; the library would close it permanently."""
        if _PERMISSIONS in err_msg.lower():
            await super()._process_err(err_msg)
            return
        error = Error(f"nats: {err_msg.strip()}")
        await self._error_cb(error)
        await self._process_op_err(error)
