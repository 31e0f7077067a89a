"""Reports by the link in an alert, and what an owner or a thief does meanwhile."""

from datetime import datetime

import pyotp

from contracts import envelope
from contracts.positions import Position
from contracts.rpc.vestnik.auth.v1 import ReportNotMeRequest, ResetPasswordRequest
from services.auth.tokens.not_me import NotMe, NotMeTokens
from tests.integration.auth.accounts import NO_ACTOR
from tests.integration.auth_and_session import PASSWORD, Services


def link(
    services: Services,
    user_id: str,
    *,
    generation: int = 1,
    at: datetime | None = None,
    email: str = "anna@example.org",
) -> str:
    """The token in the mail to that address about an event at that time."""
    report = NotMe(
        user_id=user_id,
        credential=generation,
        event_id=user_id,
        event_at=at or envelope.now(),
        claim_key=services.auth_replica.keys.of_email(email),
    )
    return NotMeTokens(services.secrets.mail_key).sign(report)


async def report(services: Services, token: str) -> str:
    answer = await services.to_auth.call(services.auth.report_not_me, ReportNotMeRequest(token=token))
    return answer.reset_token


async def reset(services: Services, token: str, new: str = "another horse") -> None:
    await services.to_auth.call(services.auth.reset_password, ResetPasswordRequest(token=token, new_password=new))


async def turn_on(services: Services, user_id: str, password: str = PASSWORD) -> None:
    factors = services.auth_replica.second_factors
    begun = await factors.begin(user_id=user_id, password=password, provenance=NO_ACTOR)
    code = pyotp.TOTP(begun.secret).now()
    await factors.confirm(user_id=user_id, code=code, session_id="", provenance=NO_ACTOR)


async def has_second_factor(services: Services, user_id: str) -> bool:
    return (await services.auth_replica.aggregates.second_factors.load(user_id)).state.secret is not None


async def change_address(services: Services, user_id: str, email: str) -> None:
    auth = services.auth_replica
    await auth.email_changes.request(
        user_id=user_id,
        email=email,
        password=PASSWORD,
        own_address=services.auth_queries.own_address,
        position=Position(),
        provenance=NO_ACTOR,
    )
    await auth.commands.verify_email(await auth.token(email), NO_ACTOR, password=PASSWORD)
