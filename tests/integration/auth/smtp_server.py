"""A small SMTP server on a real socket: accepts mails, optionally with STARTTLS and a login."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class SmtpServer:
    def __init__(
        self,
        *,
        context: ssl.SSLContext | None = None,
        hides_starttls: bool = False,
        refuses_starttls: bool = False,
        login: tuple[str, str] | None = None,
        refuse: int = 0,
        refusal: str = "451 not now",
        refuses_sender: bool = False,
    ) -> None:
        self._context = context
        # As if an attacker had removed the offer from the response to EHLO.
        self.hides_starttls = hides_starttls
        self._refuses_starttls = refuses_starttls
        self._login = login
        # Every command, in upper case.
        self.heard: list[str] = []
        # How many mails to refuse, and the response to RCPT TO or to MAIL FROM.
        self.refuse = refuse
        self._refusal = refusal
        self._refuses_sender = refuses_sender
        self.port = 0
        self.mails: list[bytes] = []
        self.envelopes: list[tuple[str, str]] = []
        # For each mail, whether it was encrypted in transit.
        self.encrypted: list[bool] = []

    @asynccontextmanager
    async def listening(self, *, tls: bool = False) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0, ssl=self._context if tls else None)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            await server.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(line: str) -> None:
            writer.write(f"{line}\r\n".encode())
            await writer.drain()

        await say("220 test")
        logged_in, sender, recipient = self._login is None, "", ""
        try:
            while line := (await reader.readline()).decode().strip():
                encrypted = writer.get_extra_info("ssl_object") is not None
                verb = line.upper()
                self.heard.append(verb)
                if verb.startswith("EHLO"):
                    await say("250-test")
                    offered = (self._context is not None and not encrypted) or self._refuses_starttls
                    if offered and not self.hides_starttls:
                        await say("250-STARTTLS")
                    if self._login is not None:
                        await say("250-AUTH PLAIN")
                    await say("250 8BITMIME")
                elif verb == "STARTTLS" and self._refuses_starttls:
                    await say("454 no TLS now")
                elif verb == "STARTTLS":
                    await say("220 go ahead")
                    assert self._context is not None
                    await writer.start_tls(self._context)
                elif verb.startswith("AUTH PLAIN"):
                    _, user, password = base64.b64decode(line.split()[2]).decode().split("\0")
                    logged_in = (user, password) == self._login
                    await say("235 welcome" if logged_in else "535 who are you")
                elif verb.startswith("MAIL FROM") and not logged_in:
                    await say("530 log in first")
                elif verb.startswith("MAIL FROM") and self._refuses_sender:
                    await say(self._refusal)
                elif verb.startswith("MAIL FROM"):
                    sender = line
                    await say("250 ok")
                elif verb.startswith("RCPT TO") and self.refuse:
                    self.refuse -= 1
                    await say(self._refusal)
                elif verb.startswith("RCPT TO"):
                    recipient = line
                    await say("250 ok")
                elif verb == "DATA":
                    await say("354 go on")
                    self.mails.append(await reader.readuntil(b"\r\n.\r\n"))
                    self.envelopes.append((sender, recipient))
                    self.encrypted.append(encrypted)
                    await say("250 taken")
                elif verb == "QUIT":
                    await say("221 bye")
                    break
                else:
                    await say("250 ok")
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()
