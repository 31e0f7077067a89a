"""Routes for registration, e-mail verification and the caller's account."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from contracts.errors import (
    InvalidToken,
    PasswordRequired,
    TokenExpired,
    UsernameTaken,
)
from contracts.rpc.vestnik.auth.v1 import (
    EndRegistrationRequest,
    GetRegistrationRequest,
    GetUserRequest,
    RegisterRequest,
    ResendVerificationRequest,
    User,
    VerifyEmailRequest,
)
from contracts.values.field_types import (
    LANGUAGES,
    ChosenPassword,
    DisplayName,
    Email,
    Id,
    Language,
    Username,
    folded_login,
)
from services.gateway.clients import required
from services.gateway.http.endpoint import (
    AnyEndpoint,
    AppliedLimit,
    DocumentedResponse,
    Endpoint,
    NoBody,
    NoQuery,
    Request,
    Response,
)
from services.gateway.limits import policies
from services.gateway.routes.accounts.accept_language import preferred
from services.gateway.routes.accounts.password_rules import check_length
from services.gateway.routes.timestamps import Time, shown


class NewUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A registration."""

    email: Email
    username: Username
    password: ChosenPassword
    display_name: DisplayName | UnsetType = UNSET
    language: Language | UnsetType = UNSET


class RegisteredUser(msgspec.Struct, frozen=True):
    user_id: Id
    username: str
    email: str
    email_verified: bool


class Account(msgspec.Struct, frozen=True):
    """One's own account."""

    user_id: Id
    username: str
    email: str
    email_verified: bool
    created_at: Time
    totp: Annotated[bool, Meta(description="Whether two-step verification is on.")]


class EmailToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: Annotated[str, Meta(min_length=1, max_length=2048, description="From the verification mail.")]
    password: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=1024,
                description="The registration's password; required while several are pending on its address.",
            ),
        ]
        | UnsetType
    ) = UNSET


class MailedToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: Annotated[str, Meta(min_length=1, max_length=2048, description="From the verification mail.")]


class Registration(msgspec.Struct, frozen=True):
    """The registration that a verification token belongs to."""

    username: str
    verified: Annotated[bool, Meta(description="The token was used: the address is verified.")]
    needs_password: Annotated[bool, Meta(description="To verify, the registration's password is also required.")]


class EmailAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    email: Email


async def register(incoming: Request[NoQuery, NewUser]) -> Response:
    new = incoming.body
    check_length(new.password, "/password")
    accepted = incoming.headers.getlist("accept-language")
    auth = incoming.context.remotes.auth
    request = RegisterRequest(
        email=new.email,
        username=new.username,
        password=new.password,
        display_name=None if new.display_name is UNSET else new.display_name,
        language=preferred(accepted, LANGUAGES) if new.language is UNSET else new.language,
    )
    answer = await auth.command(auth.stub.register, request, repeatable=False)
    user: User = required(answer.user)
    return Response(
        status=201,
        body=RegisteredUser(user.user_id, user.username, user.email, user.email_verified),
        position=answer.position,
        written_by=user.user_id,
    )


async def verify_email(incoming: Request[NoQuery, EmailToken]) -> Response:
    auth = incoming.context.remotes.auth
    password = incoming.body.password
    request = VerifyEmailRequest(token=incoming.body.token, password=None if password is UNSET else password)
    answer = await auth.command(auth.stub.verify_email, request, repeatable=True)
    return Response(status=204, position=answer.position, written_by=answer.user_id or None)


async def get_registration(incoming: Request[NoQuery, MailedToken]) -> Response:
    auth = incoming.context.remotes.auth
    request = GetRegistrationRequest(token=incoming.body.token)
    answer = await auth.command(auth.stub.get_registration, request, repeatable=True)
    return Response(body=Registration(answer.username, answer.verified, answer.needs_password))


async def end_registration(incoming: Request[NoQuery, MailedToken]) -> Response:
    auth = incoming.context.remotes.auth
    request = EndRegistrationRequest(token=incoming.body.token)
    await auth.command(auth.stub.end_registration, request, repeatable=True)
    return Response(status=204)


async def resend_verification(incoming: Request[NoQuery, EmailAddress]) -> Response:
    auth = incoming.context.remotes.auth
    request = ResendVerificationRequest(email=incoming.body.email)
    await auth.command(auth.stub.resend_verification, request, repeatable=True)
    return Response(status=202)


async def get_me(incoming: Request[NoQuery, NoBody]) -> Response:
    auth = incoming.context.remotes.auth
    answer = await auth.read(auth.stub.get_user, GetUserRequest(user_id=incoming.caller.user_id))
    user: User = required(answer.user)
    account = Account(user.user_id, user.username, user.email, user.email_verified, shown(user.created_at), user.totp)
    return Response(body=account, position=answer.position)


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/users",
        tag="Users",
        summary="Register",
        description="Creates an account and sends a mail with a token that verifies the address. The response and "
        "its timing are the same whether or not the address has an account; if it has one, its owner "
        "gets a notice instead of a token. The username is reserved until the token expires, but the "
        "address is not: it goes to the first registration that is verified. This mail and all later "
        "ones of the account are in `language`, by default in the language of `Accept-Language`, or "
        "else in English.",
        handler=register,
        query=NoQuery,
        body=NewUser,
        answers={201: DocumentedResponse(description="The new account.", body=RegisteredUser)},
        errors=(UsernameTaken,),
        limits=(
            AppliedLimit(limit=policies.REGISTER),
            AppliedLimit(limit=policies.REGISTER_EMAIL, key=lambda body: folded_login(body.email)),
        ),
        public=True,
        writes=True,
        request_headers=("Accept-Language",),
    ),
    Endpoint(
        method="POST",
        path="/v1/users/verify-email",
        tag="Users",
        summary="Verify the e-mail address",
        description="A second use of a valid token succeeds too. While several registrations are pending on the "
        "address, this registration's password is also required.",
        handler=verify_email,
        query=NoQuery,
        body=EmailToken,
        answers={204: DocumentedResponse(description="The address is verified.")},
        errors=(TokenExpired, InvalidToken, PasswordRequired),
        limits=(
            AppliedLimit(limit=policies.VERIFY),
            AppliedLimit(limit=policies.VERIFY_TOKEN, key=lambda body: body.token),
        ),
        public=True,
        writes=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/users/verify-email/registration",
        tag="Users",
        summary="Get the registration that a token verifies",
        description="For the page behind the link in the verification mail, which shows the name before it verifies.",
        handler=get_registration,
        query=NoQuery,
        body=MailedToken,
        answers={200: DocumentedResponse(description="The token's registration.", body=Registration)},
        errors=(TokenExpired, InvalidToken),
        limits=(AppliedLimit(limit=policies.VERIFY),),
        public=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/users/verify-email/not-me",
        tag="Users",
        summary="End a registration that another person made with the user's address",
        description="Ends the registration and frees its username. A registration that has already ended: 204. "
        "One that was verified is not ended: 410.",
        handler=end_registration,
        query=NoQuery,
        body=MailedToken,
        answers={204: DocumentedResponse(description="The registration has ended.")},
        errors=(TokenExpired, InvalidToken),
        limits=(AppliedLimit(limit=policies.VERIFY),),
        public=True,
        writes=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/users/resend-verification",
        tag="Users",
        summary="Request the verification mail again",
        description="The response is the same for every address, so that it does not reveal who has an account. "
        "One mail lists every pending registration of the address; their expiry is not extended.",
        handler=resend_verification,
        query=NoQuery,
        body=EmailAddress,
        answers={202: DocumentedResponse(description="If the address awaits verification, a mail will be sent.")},
        limits=(
            AppliedLimit(limit=policies.RESEND_ADDRESS),
            AppliedLimit(limit=policies.RESEND_EMAIL, key=lambda body: folded_login(body.email)),
        ),
        public=True,
        writes=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/users/me",
        tag="Users",
        summary="One's own account",
        handler=get_me,
        query=NoQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="The account.", body=Account)},
        reads=True,
    ),
)
