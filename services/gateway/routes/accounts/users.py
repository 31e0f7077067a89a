"""Routes for registration, e-mail verification and the caller's account."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from contracts.errors import (
    InvalidCredentials,
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
from services.gateway.limits import password_attempts, policies, rate_limiter
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
                description="The registration's password, required while several are pending on its address; for a "
                "change of the address the account's, always required.",
            ),
        ]
        | UnsetType
    ) = UNSET


class MailedToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: Annotated[str, Meta(min_length=1, max_length=2048, description="From the verification mail.")]


class Registration(msgspec.Struct, frozen=True):
    """The registration, or the change of an account's address, that a verification token belongs to."""

    username: str
    verified: Annotated[bool, Meta(description="The token was used: the address is verified.")]
    needs_password: Annotated[bool, Meta(description="To verify, the password is also required.")]
    change: Annotated[bool, Meta(description="The token confirms the new address of an account that exists.")]


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
    auth, body = incoming.context.remotes.auth, incoming.body
    password = None if body.password is UNSET else body.password
    request = VerifyEmailRequest(token=body.token, password=password, address=incoming.address)
    # An account's password is guessed here too: such a guess counts with those of its other routes.
    account = "" if password is None else await _changed_account(incoming, body.token)
    guesses = [password_attempts.of_user(incoming.context.limiter, account)] if account else []
    with password_attempts.judged(*guesses):
        for guess in guesses:
            incoming.limit_states.extend(guess.limit_states)
            rate_limiter.check(guess.limit_states)
        answer = await auth.command(auth.stub.verify_email, request, repeatable=True)
    return Response(status=204, position=answer.position, written_by=answer.user_id or None)


async def _changed_account(incoming: Request[NoQuery, EmailToken], token: str) -> str:
    """Returns the user id of the account whose address the token changes; empty for a registration's token."""
    auth = incoming.context.remotes.auth
    answer = await auth.command(auth.stub.get_registration, GetRegistrationRequest(token=token), repeatable=True)
    return answer.changes_user_id


async def get_registration(incoming: Request[NoQuery, MailedToken]) -> Response:
    auth = incoming.context.remotes.auth
    request = GetRegistrationRequest(token=incoming.body.token)
    answer = await auth.command(auth.stub.get_registration, request, repeatable=True)
    registration = Registration(
        username=answer.username,
        verified=answer.verified,
        needs_password=answer.needs_password,
        change=bool(answer.changes_user_id),
    )
    return Response(body=registration)


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
        "address, this registration's password is also required. A token from `PUT /v1/users/me/email` changes the "
        "account's address and needs the account's password; a wrong one is `invalid_credentials` and counts as a "
        "wrong password of the account.",
        handler=verify_email,
        query=NoQuery,
        body=EmailToken,
        answers={204: DocumentedResponse(description="The address is verified.")},
        errors=(TokenExpired, InvalidToken, PasswordRequired, InvalidCredentials),
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
        description="Ends the registration and frees its username, or ends another account's change to the address. "
        "What has already ended: 204. One that was verified is not ended: 410.",
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
