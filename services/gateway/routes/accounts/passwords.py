"""Routes to change the password, or to reset it with a mailed token."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.errors import InvalidCredentials, InvalidToken, TokenExpired
from contracts.rpc.vestnik.auth.v1 import ChangePasswordRequest, RequestPasswordResetRequest, ResetPasswordRequest
from contracts.values.field_types import ChosenPassword, Email, Password, folded_login
from infra.settings import Settings
from services.gateway.http.endpoint import (
    AnyEndpoint,
    AppliedLimit,
    DocumentedResponse,
    Endpoint,
    NoQuery,
    Request,
    Response,
)
from services.gateway.limits import password_attempts, policies, rate_limiter
from services.gateway.routes.accounts.browser_sessions import device_cookie
from services.gateway.routes.accounts.password_rules import check_length


class PasswordChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    current_password: Password
    new_password: ChosenPassword


class NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: Annotated[str, Meta(min_length=1, max_length=2048, description="From the requested mail.")]
    new_password: ChosenPassword


class ForgottenPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    email: Email


async def change_password(incoming: Request[NoQuery, PasswordChange]) -> Response:
    auth, caller = incoming.context.remotes.auth, incoming.caller
    check_length(incoming.body.new_password, "/new_password")
    request = ChangePasswordRequest(
        user_id=caller.user_id,
        current_password=incoming.body.current_password,
        new_password=incoming.body.new_password,
        session_id=caller.session_id,
        address=incoming.address,
    )
    guess = password_attempts.of_user(incoming.context.limiter, caller.user_id)
    with password_attempts.judged(guess):
        incoming.limit_states.extend(guess.limit_states)
        rate_limiter.check(guess.limit_states)
        answer = await auth.command(auth.stub.change_password, request, repeatable=False)
    return _changed(incoming.context.settings, answer.device_token, answer.position, caller.user_id)


async def request_password_reset(incoming: Request[NoQuery, ForgottenPassword]) -> Response:
    auth = incoming.context.remotes.auth
    request = RequestPasswordResetRequest(email=incoming.body.email)
    await auth.command(auth.stub.request_password_reset, request, repeatable=True)
    return Response(status=202)


async def reset_password(incoming: Request[NoQuery, NewPassword]) -> Response:
    auth = incoming.context.remotes.auth
    check_length(incoming.body.new_password, "/new_password")
    request = ResetPasswordRequest(token=incoming.body.token, new_password=incoming.body.new_password)
    answer = await auth.command(auth.stub.reset_password, request, repeatable=False)
    return _changed(incoming.context.settings, answer.device_token, answer.position, answer.user_id or None)


def _changed(settings: Settings, device_token: str, position: str, user_id: str | None) -> Response:
    """Returns the new device token: as a header for programs, as a cookie for pages."""
    return Response(
        status=204,
        headers={"vestnik-device-token": device_token},
        cookies=(device_cookie(settings, device_token),),
        position=position,
        written_by=user_id,
    )


_HEADERS = ("Vestnik-Device-Token", "Set-Cookie")

ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="PUT",
        path="/v1/users/me/password",
        tag="Users",
        summary="Change the password",
        description=(
            "All other sessions of the user end; the session of the request continues. A concurrent login with "
            "the old password fails. Earlier password reset tokens and the device tokens of all other devices "
            "become invalid."
        ),
        handler=change_password,
        query=NoQuery,
        body=PasswordChange,
        answers={204: DocumentedResponse(description="The password was changed.", headers=_HEADERS)},
        errors=(InvalidCredentials,),
        limits=(AppliedLimit(limit=policies.WRITE_ADDRESS), AppliedLimit(limit=policies.CHANGE_PASSWORD)),
        writes=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/users/password-reset",
        tag="Users",
        summary="Request a password reset by mail",
        description=(
            "The response is the same for every address, so that it does not reveal who has an account. At most "
            "one mail per minute is sent to a verified address."
        ),
        handler=request_password_reset,
        query=NoQuery,
        body=ForgottenPassword,
        answers={202: DocumentedResponse(description="If the address is verified, a mail will be sent.")},
        limits=(
            AppliedLimit(limit=policies.RESET_ADDRESS),
            AppliedLimit(limit=policies.RESET_EMAIL, key=lambda body: folded_login(body.email)),
        ),
        public=True,
        writes=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/users/password-reset/confirm",
        tag="Users",
        summary="Set a new password with the token from the mail",
        description=(
            "The token is valid once: a second use, or a use after another change of the password, fails with "
            "`token_expired`. All sessions of the user end."
        ),
        handler=reset_password,
        query=NoQuery,
        body=NewPassword,
        answers={204: DocumentedResponse(description="The password was changed; log in with it.", headers=_HEADERS)},
        errors=(TokenExpired, InvalidToken),
        limits=(AppliedLimit(limit=policies.RESET_CONFIRM),),
        public=True,
        writes=True,
    ),
)
