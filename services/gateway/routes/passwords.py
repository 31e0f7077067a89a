"""Another password: changed by who knows the present one, or reset by who has the mail."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.errors import InvalidCredentials, InvalidToken, TokenExpired
from contracts.fields import ChosenPassword, Email, Password, folded_login
from contracts.rpc.vestnik.auth.v1 import ChangePasswordRequest, RequestPasswordResetRequest, ResetPasswordRequest
from services.gateway import limits
from services.gateway.endpoints import Answer, AnyEndpoint, Counted, Endpoint, Incoming, NoQuery, Reply
from services.gateway.password_length import check_length


class PasswordChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    current_password: Password
    new_password: ChosenPassword


class NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: Annotated[str, Meta(min_length=1, max_length=2048, description="From the mail that was asked for.")]
    new_password: ChosenPassword


class ForgottenPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    email: Email


async def change_password(incoming: Incoming[NoQuery, PasswordChange]) -> Reply:
    auth, caller = incoming.parts.remotes.auth, incoming.caller
    check_length(incoming.body.new_password, "/new_password")
    request = ChangePasswordRequest(
        user_id=caller.user_id,
        current_password=incoming.body.current_password,
        new_password=incoming.body.new_password,
        session_id=caller.session_id,
    )
    answer = await auth.command(auth.stub.change_password, request, repeatable=False)
    return Reply(status=204, position=answer.position, written_by=caller.user_id)


async def request_password_reset(incoming: Incoming[NoQuery, ForgottenPassword]) -> Reply:
    auth = incoming.parts.remotes.auth
    request = RequestPasswordResetRequest(email=incoming.body.email)
    await auth.command(auth.stub.request_password_reset, request, repeatable=True)
    return Reply(status=202)


async def reset_password(incoming: Incoming[NoQuery, NewPassword]) -> Reply:
    auth = incoming.parts.remotes.auth
    check_length(incoming.body.new_password, "/new_password")
    request = ResetPasswordRequest(token=incoming.body.token, new_password=incoming.body.new_password)
    answer = await auth.command(auth.stub.reset_password, request, repeatable=False)
    return Reply(status=204, position=answer.position, written_by=answer.user_id or None)


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="PUT",
        path="/v1/users/me/password",
        tag="Users",
        summary="Change the password",
        description=(
            "All other sessions of the user end; that of the request goes on. A login under way with the old password "
            "fails. Tokens for a reset that were mailed before are spent."
        ),
        handler=change_password,
        query=NoQuery,
        body=PasswordChange,
        answers={204: Answer(description="The password is the new one.")},
        errors=(InvalidCredentials,),
        limits=(Counted(limit=limits.WRITE_ADDRESS), Counted(limit=limits.CHANGE_PASSWORD)),
        writes=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/users/password-reset",
        tag="Users",
        summary="Ask for a mail that resets the password",
        description=(
            "Answers the same whatever the address, so that nobody learns who has an account. One mail a minute at "
            "most goes to an address that was verified."
        ),
        handler=request_password_reset,
        query=NoQuery,
        body=ForgottenPassword,
        answers={202: Answer(description="If somebody has verified the address, a mail is on its way.")},
        limits=(
            Counted(limit=limits.RESET_ADDRESS),
            Counted(limit=limits.RESET_EMAIL, key=lambda body: folded_login(body.email)),
        ),
        public=True,
        writes=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/users/password-reset/confirm",
        tag="Users",
        summary="Set another password with the token of the mail",
        description=(
            "The token is good once: used again, or after any other change of the password, it answers "
            "`token_expired`. All sessions of the user end."
        ),
        handler=reset_password,
        query=NoQuery,
        body=NewPassword,
        answers={204: Answer(description="The password is the new one; log in with it.")},
        errors=(TokenExpired, InvalidToken),
        limits=(Counted(limit=limits.RESET_CONFIRM),),
        public=True,
        writes=True,
    ),
)
