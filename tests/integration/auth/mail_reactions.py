"""The reactions that send the mails of accounts, and what they have sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from nats.aio.client import Client as NATS
from nats.js.errors import NotFoundError

from contracts.durable_consumers import SECURITY_NOTICES, VERIFICATION_MAIL
from contracts.values.field_types import LanguageCode
from services.auth.mail.templates import Mail
from services.auth.mail.transport import DeliveryFailed, MailTransport
from services.auth.reactions import AccountMails, SecurityNotices
from streams.reactions.reactor import EventReactor
from streams.reactions.retries import Retries
from tests.integration.auth.accounts import NO_ACTOR
from tests.integration.auth_and_session import PASSWORD, Auth, Clock


class Recording:
    """Records the mails sent; fails the configured number of times."""

    def __init__(self, failures: int = 0) -> None:
        self.sent: list[Mail] = []
        self.failures = failures

    async def send(self, mail: Mail) -> None:
        if self.failures:
            self.failures -= 1
            raise DeliveryFailed("451 not now")
        self.sent.append(mail)


@asynccontextmanager
async def reacting(
    nats: NATS,
    auth: Auth,
    outbox: MailTransport,
    clock: Clock | None = None,
    *,
    ack_wait: float = 30.0,
    mails_an_hour: int = 1000,
) -> AsyncIterator[None]:
    delivery = auth.delivery(outbox, mails_an_hour=mails_an_hour)
    clock = clock or Clock()
    page = "https://chat.example.org/"
    account_mails = AccountMails(
        auth.aggregates, auth.tokens, auth.resets, auth.email_change_mails(), delivery, page=page, clock=clock
    )
    notices = SecurityNotices(auth.aggregates, delivery, page=page, clock=clock)
    tasks = {
        asyncio.create_task(
            EventReactor(nats, durable, send, ack_wait=ack_wait, retries=Retries(first_pause=0.05)).run()
        )
        for durable, send in ((VERIFICATION_MAIL, account_mails.send), (SECURITY_NOTICES, notices.send))
    }
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            assert task.cancelled(), task.exception()


async def settled(nats: NATS, *, waiting_notices: int = 0) -> None:
    """Waits until the reactions have dealt with everything that is in the stream."""
    async with asyncio.timeout(60):
        for durable, left in ((VERIFICATION_MAIL, 0), (SECURITY_NOTICES, waiting_notices)):
            while True:
                with suppress(NotFoundError):  # not made yet
                    info = await nats.jetstream().consumer_info("AUTH", durable.name)
                    if info.num_pending == 0 and info.num_ack_pending == left:
                        break
                await asyncio.sleep(0.01)


async def register(auth: Auth, name: str, email: str = "", language: LanguageCode = "en") -> str:
    """The new user's id."""
    user = await auth.commands.register(
        email=email or f"{name}@example.org",
        username=name,
        password=PASSWORD,
        display_name=None,
        provenance=NO_ACTOR,
        language=language,
    )
    return user.user_id


def tokens(mail: Mail) -> list[str]:
    return [offer.token for offer in mail.offers]
