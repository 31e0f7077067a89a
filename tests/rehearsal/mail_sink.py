"""A mail server that keeps what it gets, in the place of the deployment's mail server."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

_TOKEN = re.compile(r"^Token: (\S+)\r?$", re.MULTILINE)


class MailSink:
    def __init__(self, take: Callable[[EmailMessage], Awaitable[None]] | None = None) -> None:
        """`take`: called with each mail."""
        self._take = take
        self._mails: list[tuple[str, str]] = []
        self._arrived = asyncio.Condition()

    @asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[None]:
        async with await asyncio.start_server(self._converse, "0.0.0.0", port):
            yield

    async def token(self, address: str) -> str:
        """Waits for a mail to the address with a token, and returns that."""
        async with self._arrived:
            while True:
                for recipient, text in self._mails:
                    if recipient == address and (match := _TOKEN.search(text)):
                        return match[1]
                await self._arrived.wait()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 rehearsal\r\n")
        try:
            while line := (await reader.readline()).upper():
                if line.startswith(b"DATA"):
                    writer.write(b"354 go on\r\n")
                    await self._keep(await reader.readuntil(b"\r\n.\r\n"))
                writer.write(b"221 bye\r\n" if line.startswith(b"QUIT") else b"250 ok\r\n")
                if line.startswith(b"QUIT"):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _keep(self, content: bytes) -> None:
        mail = message_from_bytes(content, policy=default)
        assert isinstance(mail, EmailMessage)
        if self._take is not None:
            await self._take(mail)
        text = mail.get_body(("plain",))
        assert text is not None
        async with self._arrived:
            self._mails.append((mail["To"].addresses[0].addr_spec, text.get_content()))
            self._arrived.notify_all()
