"""The reactions that send alerts, what they have sent, and the logins and changes that they are about."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from nats.aio.client import Client as NATS
from nats.js.errors import NotFoundError

from contracts.durable_consumers import (
    ACCOUNT_ALERTS,
    EMAIL_ALERTS,
    PASSWORD_ALERTS,
    SECOND_FACTOR_ALERTS,
    SESSION_ALERTS,
)
from contracts.rpc.vestnik.auth.v1 import (
    ChangePasswordRequest,
    LoginRequest,
    LoginResponse,
    RegisterRequest,
    VerifyEmailRequest,
)
from contracts.rpc.vestnik.session.v1 import Tokens
from infra.rpc.call_context import Call
from services.auth.alerts.reaction import AccountAlerts
from services.auth.alerts.recipients import Recipients
from services.auth.mail.templates import Mail
from services.auth.mail.transport import DeliveryFailed
from services.auth.tokens.not_me import NotMeTokens
from streams.reactions.reactor import EventReactor
from streams.reactions.retries import Retries
from tests.integration.auth_and_session import PASSWORD, Clock, Services

ALERTS = (SESSION_ALERTS, PASSWORD_ALERTS, EMAIL_ALERTS, SECOND_FACTOR_ALERTS, ACCOUNT_ALERTS)
PAGE = "https://chat.example.org"


class Outbox:
    """Records the mails sent; after `failures` of them it reports that it could not send."""

    def __init__(self, failures: int = 0) -> None:
        self.sent: list[Mail] = []
        self.failures = failures

    async def send(self, mail: Mail) -> None:
        self.sent.append(mail)
        if self.failures:
            self.failures -= 1
            raise DeliveryFailed("the answer is lost")

    @property
    def kinds(self) -> list[str]:
        return [mail.kind for mail in self.sent]


async def register(services: Services, name: str, language: str = "en") -> str:
    """Registers and verifies a user who has logged in once; returns the id."""
    answer = await services.to_auth.call(
        services.auth.register,
        RegisterRequest(email=f"{name}@example.org", username=name, password=PASSWORD, language=language),
    )
    assert answer.user is not None
    token = await services.auth_replica.token(f"{name}@example.org")
    await services.to_auth.call(services.auth.verify_email, VerifyEmailRequest(token=token))
    await log_in(services, name=name)
    return answer.user.user_id


async def log_in(
    services: Services, *, name: str = "anna", password: str = PASSWORD, device_token: str = ""
) -> LoginResponse:
    return await services.to_auth.call(
        services.auth.login,
        LoginRequest(
            login=name, password=password, device="Vestnik web, Firefox, Linux", address="192.0.2.1",
            device_token=device_token,
        ),
    )  # fmt: skip


def tokens_of(answer: LoginResponse) -> Tokens:
    assert answer.tokens is not None
    return answer.tokens


async def change(services: Services, tokens: Tokens, new: str) -> None:
    request = ChangePasswordRequest(
        user_id=tokens.user_id, current_password=PASSWORD, new_password=new, session_id=tokens.session_id
    )
    call = Call(request_id="request", actor=tokens.user_id)
    await services.to_auth.call(services.auth.change_password, request, context=call)


@asynccontextmanager
async def reacting(
    services: Services, outbox: Outbox, streams: NATS, clock: Clock | None = None
) -> AsyncIterator[None]:
    auth, clock = services.auth_replica, clock or Clock()
    delivery = auth.delivery(outbox)
    delivery._clock = clock
    tokens = NotMeTokens(services.secrets.mail_key)
    recipients = Recipients(auth.aggregates, auth.keys, services.auth_queries, clock=clock)
    alerts = AccountAlerts(auth.aggregates, recipients, services.sessions, tokens, delivery, page=PAGE, clock=clock)
    tasks = {
        asyncio.create_task(EventReactor(streams, durable, alerts.alert, retries=Retries(first_pause=0.05)).run())
        for durable in ALERTS
    }
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            assert task.cancelled(), task.exception()


async def settled(streams: NATS, *, waiting: int = 0) -> None:
    """Waits until the reactions have dealt with all events but those that wait for room."""
    async with asyncio.timeout(60):
        for durable in ALERTS:
            while True:
                with suppress(NotFoundError):  # not made yet
                    info = await streams.jetstream().consumer_info(durable.stream, durable.name)
                    if info.num_pending == 0 and info.num_ack_pending <= waiting:
                        break
                await asyncio.sleep(0.01)
