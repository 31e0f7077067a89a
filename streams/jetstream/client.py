"""The NATS client, with a fast path for the messages of an event store.

The client library parses a message with regular expressions, parses its headers, and passes it through a queue to a
task. Replaying a stream would do that a million times for headers that no one reads. Here a message goes from the
connection's bytes directly to a plain function. A published message is put into the library's own buffer in one piece.
Everything else (connecting, reconnecting, pings, errors, flushing, ordinary subscriptions) stays with the library.
"""

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from typing import Any

from nats.aio.client import Client as NATS
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from streams.jetstream.failover import FailoverClient
from streams.jetstream.raw_message import Delivered, is_status, read_headers
from streams.jetstream.tls import NoServerTls, Tls

_LOG = logging.getLogger(__name__)
_END = b"\r\n"
_PING = b"PING\r\n"
# Characters that would end a subject on the wire.
_UNFIT = re.compile(r"\s")
# Longer than any line of the protocol, including the server's INFO with a large cluster in it.
_LONGEST_LINE = 1024 * 1024
# Words of a message's first line when it has a reply subject; one fewer without.
_WORDS = {b"MSG": 5, b"HMSG": 6}
_FEWEST_WORDS = 4

Take = Callable[[Delivered], None]


class Client(FailoverClient):
    def __init__(self, tls: Tls | None = None) -> None:
        super().__init__()
        self._tls = tls or Tls()
        # By subscription: its handler, and whether stored headers are parsed for it.
        self.direct_handlers: dict[int, tuple[Take, bool]] = {}
        self._ps: Parser = DirectParser(self)

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """A new context for each connection, where the library would keep one forever.

        Raises:
            BadTlsFile: a file is missing or cannot be used.
        """
        return self._tls.context()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Refuses a server without TLS if TLS is required: the library would send it the password.

        Raises:
            NoServerTls: TLS is required, and the server offers none.
        """
        if initial_connection and self._requires_tls() and not info.get("tls_required"):
            if not info.get("tls_available"):
                raise NoServerTls
            # The library uses TLS only with a server that insists on it.
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    async def _process_connect_init(self) -> None:
        """As the library's, which leaves out a step with TLS: asyncio's protocol never gets its transport.

        Then it reads without flow control, and asyncio warns of the end of each connection.

        Raises:
            ConnectionResetError: the connection is lost already.
        """
        await super()._process_connect_init()
        if not isinstance(self._transport, TcpTransport) or self._transport._io_writer is None:
            return
        transport = self._transport._io_writer.transport
        if transport.get_extra_info("sslcontext") is None:
            return
        protocol = transport.get_protocol()
        if protocol is None:
            raise ConnectionResetError("the connection was lost while it was made")
        protocol.connection_made(transport)

    def _requires_tls(self) -> bool:
        return self._tls.is_required or any(server.uri.scheme == "tls" for server in self._server_pool)

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """As the library's, which handles every unusual case."""
        command = self._command(subject, payload, reply, headers)
        if command is None:
            await super().publish(subject, payload, reply, headers)
            return
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += len(payload)
        self._pending.append(command)
        self._pending_data_size += len(command)
        if 0 < self._max_pending_size < self._pending_data_size:
            await self._flush_pending(force_flush=True)
        elif self._flush_queue is not None and self._flush_queue.empty():
            await self._flush_pending()

    async def _flush_pending(self, force_flush: bool = False) -> object:
        """As the library's, which swallows the cancellation of a task that waits for a forced flush.

        The task would go on as if nothing had happened: past its time-out, or after the stop of its process.

        Raises:
            CancelledError: the task was cancelled.
        """
        task = asyncio.current_task() if force_flush else None
        cancelled_before = task.cancelling() if task is not None else 0
        flushed = await super()._flush_pending(force_flush)
        # Without a request to cancel this task it is the flusher that has ended, with its connection.
        if task is not None and task.cancelling() > cancelled_before:
            raise asyncio.CancelledError
        return flushed

    def _command(self, subject: str, payload: bytes, reply: str, headers: dict[str, str] | None) -> bytes | None:
        """The message in wire format; None if the library has to check it more closely, or refuse it."""
        size = len(payload)
        if self._status != NATS.CONNECTED or size > self._max_payload or not subject:
            return None
        if _UNFIT.search(subject) or _UNFIT.search(reply):
            return None
        if headers is None:
            return b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), size, payload)
        text = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if text.count("\n") != len(headers) or text.count("\r") != len(headers) or "" in headers:
            return None
        block = f"NATS/1.0\r\n{text}\r\n".encode()
        length = len(block)
        return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (
            subject.encode(),
            reply.encode(),
            length,
            length + size,
            block,
            payload,
        )

    async def _send_ping(self, future: "asyncio.Future[bool] | None" = None) -> None:
        """Sends a PING after all pending data, so that the PONG confirms that the server has received it.

        The library's own PING overtakes pending data: its `flush` may return before the server has read a preceding
        subscription, and a message that another connection then publishes reaches no subscriber.
        """
        self._pongs.append(asyncio.get_running_loop().create_future() if future is None else future)
        await self._send_command(_PING)
        await self._flush_pending()

    async def close(self) -> None:
        """As the library's; also if the server is gone, and the pending data with it."""
        try:
            await super().close()
        except OSError:
            # The library stops at data that it cannot send. That is dropped by now; the rest is still to be done.
            self._status = NATS.DISCONNECTED
            await super().close()

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        super()._remove_sub(sid, max_msgs)
        self.direct_handlers.pop(sid, None)


async def subscribe_direct(nc: NATS, subject: str, take: Take, *, headers: bool) -> Subscription:
    """Subscribes; `take` is called with each message as it arrives, and must be fast.

    A client of the library itself works, too, but slower.

    `headers`: whether the headers of stored messages are parsed; those of the server's own messages always are.
    """

    async def take_later(message: Msg) -> None:
        take(Delivered(message.subject, message.reply, message.data, message.headers))

    subscription = await nc.subscribe(subject, cb=take_later)
    if isinstance(nc, Client):
        nc.direct_handlers[subscription._id] = take, headers
    return subscription


class DirectParser(Parser):
    """Parses messages for direct delivery itself and leaves every other line to the library."""

    nc: Client

    def reset(self) -> None:
        super().reset()
        # The beginning of an incomplete line or message.
        self._left = b""
        # Data read before a reset belongs to a connection that is gone.
        self._resets = getattr(self, "_resets", 0) + 1

    async def parse(self, data: bytes = b"") -> None:
        if self._left:
            data = self._left + data
            self._left = b""
        resets = self._resets
        offset, size = 0, len(data)
        while offset < size:
            end = data.find(_END, offset)
            if end < 0:
                if size - offset > _LONGEST_LINE:
                    raise ProtocolError("nats: a line without an end")
                break
            line = data[offset:end]
            body = end + 2
            if line.startswith((b"MSG ", b"HMSG ")):
                words = line.split()
                if len(words) < _FEWEST_WORDS:
                    raise ProtocolError("nats: malformed message")
                after = body + _number(words[-1])
                if after + 2 > size:
                    break
                offset = after + 2
                if not self._hand_out(words, data, body, after):
                    await self._pass_on(words, data, body, after)
            else:
                offset = body
                await self._parse_line(line + _END)
            if self._resets != resets:
                return
        self._left = data[offset:]

    async def _parse_line(self, line: bytes) -> None:
        """
        Raises:
            ProtocolError: the line cannot be read. Any other error would end the library's reading without a
                reconnection.
        """
        try:
            await super().parse(line)
        except ValueError as error:
            raise ProtocolError("nats: malformed line") from error

    def _hand_out(self, words: list[bytes], data: bytes, body: int, after: int) -> bool:
        """Delivers the message to its direct handler; False if there is none."""
        taker = self.nc.direct_handlers.get(_number(words[2]))
        if taker is None:
            return False
        take, wants_headers = taker
        headers = None
        if words[0] == b"HMSG":
            begin, body = body, body + _number(words[-2])
            block = data[begin:body]
            if wants_headers or is_status(block):
                headers = read_headers(block)
        # A publisher may have put any bytes into both.
        subject = words[1].decode(errors="replace")
        reply = words[3].decode(errors="replace") if len(words) == _WORDS[words[0]] else ""
        self._count(after - body)
        try:
            take(Delivered(subject, reply, data[body:after], headers))
        except Exception:
            _LOG.exception("the handler of a message on %s failed", subject)
        return True

    async def _pass_on(self, words: list[bytes], data: bytes, body: int, after: int) -> None:
        headers = b""
        if words[0] == b"HMSG":
            begin, body = body, body + _number(words[-2])
            headers = data[begin:body]
        reply = words[3] if len(words) == _WORDS[words[0]] else b""
        await self.nc._process_msg(_number(words[2]), words[1], reply, data[body:after], headers)

    def _count(self, size: int) -> None:
        self.nc.stats["in_msgs"] += 1
        self.nc.stats["in_bytes"] += size


def _number(word: bytes) -> int:
    try:
        return int(word)
    except ValueError as error:
        raise ProtocolError("nats: malformed message") from error
