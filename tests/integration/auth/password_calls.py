"""Logins, changes and resets of a password over gRPC, and whether a session goes on."""

from contracts import subjects
from contracts.events.session import SessionRevoked
from contracts.rpc.vestnik.auth.v1 import ChangePasswordRequest, LoginRequest, ResetPasswordRequest
from contracts.rpc.vestnik.session.v1 import Tokens
from infra.rpc.call_context import Call
from tests.integration.auth_and_session import PASSWORD, Services

NEW, COMMON = "another horse", "password1"


async def log_in(services: Services, password: str = PASSWORD) -> Tokens:
    answer = await services.to_auth.call(
        services.auth.login, LoginRequest(login="anna", password=password, device="phone", address="192.0.2.1")
    )
    assert answer.tokens is not None
    return answer.tokens


async def change(services: Services, tokens: Tokens, *, current: str = PASSWORD, new: str = NEW) -> str:
    answer = await services.to_auth.call(
        services.auth.change_password,
        ChangePasswordRequest(
            user_id=tokens.user_id, current_password=current, new_password=new, session_id=tokens.session_id
        ),
        context=Call(request_id="request", actor=tokens.user_id),
    )
    return answer.position


async def reset(services: Services, token: str, new: str = NEW) -> str:
    answer = await services.to_auth.call(
        services.auth.reset_password, ResetPasswordRequest(token=token, new_password=new)
    )
    return answer.position


async def ends(services: Services, tokens: Tokens) -> list[tuple[str, str | None]]:
    """The reason of the session's end, and who ended it."""
    events = [message.open() for message in await services.log.read(subjects.session(tokens.session_id))]
    return [(event.data.reason, event.actor) for event in events if isinstance(event.data, SessionRevoked)]
