"""A process that sends verification mails and is killed after the first, before it records the mail as sent."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import nats as nats_py

from contracts.durable_consumers import VERIFICATION_MAIL
from infra.security.secrets import Secrets
from services.auth.mail.templates import Mail
from services.auth.mail.transport import FolderTransport
from services.auth.reactions import AccountMails
from streams.reactions.reactor import EventReactor
from tests.integration.auth_and_session import Auth

# Seconds after which its event is redelivered to another process.
ACK_WAIT = 3.0


class DyingOutbox:
    def __init__(self, folder: Path) -> None:
        self._files = FolderTransport(folder, "no-reply@localhost")

    async def send(self, mail: Mail) -> None:
        await self._files.send(mail)
        os.kill(os.getpid(), signal.SIGKILL)


async def main(nats_url: str, secrets: str, folder: str) -> None:
    connection = await nats_py.connect(nats_url)
    auth = Auth(connection, Secrets.load(Path(secrets)))
    delivery = auth.delivery(DyingOutbox(Path(folder)))
    mails = AccountMails(
        auth.aggregates, auth.tokens, auth.resets, auth.email_change_mails(), delivery, page="http://localhost"
    )
    await EventReactor(connection, VERIFICATION_MAIL, mails.send, ack_wait=ACK_WAIT).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
