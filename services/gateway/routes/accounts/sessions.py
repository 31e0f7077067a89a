"""Routes for sessions: log in, refresh, list, revoke."""

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from contracts.errors import (
    EmailNotVerified,
    InvalidCredentials,
    InvalidRefreshToken,
    InvalidTotp,
    RateLimited,
    RefreshTokenReused,
    SessionNotFound,
    TotpRequired,
)
from contracts.rpc.vestnik.auth.v1 import LoginRequest, LoginResponse
from contracts.rpc.vestnik.session.v1 import (
    ListSessionsRequest,
    RefreshSessionRequest,
    RevokeSessionRequest,
    RevokeSessionResponse,
    Session,
    Tokens,
)
from contracts.values.field_types import Device, Id, Password
from contracts.values.ids import new_id
from services.gateway.clients import required
from services.gateway.context import GatewayContext
from services.gateway.http.endpoint import (
    AnyEndpoint,
    AppliedLimit,
    DocumentedResponse,
    Endpoint,
    NoBody,
    NoQuery,
    Page,
    Request,
    Response,
)
from services.gateway.http.query_params import PageQuery
from services.gateway.limits import password_attempts, policies, rate_limiter
from services.gateway.limits.password_attempts import Guess
from services.gateway.routes.timestamps import Time, shown

_SESSION_ID = 36


DEVICE_TOKEN_LENGTH = 256
TotpCode = Annotated[
    str,
    Meta(
        max_length=64,
        description="Six digits of the authenticator app, or a recovery code; spaces and hyphens are ignored.",
    ),
]
ErasureCancelled = (
    Annotated[bool, Meta(description="true: the account was to be deleted, and this login has cancelled that.")]
    | UnsetType
)


class PasswordLogin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Credentials of a login."""

    login: Annotated[
        str,
        Meta(min_length=1, max_length=254, pattern=r"^[^\x00]*\Z", description="The e-mail address or the username."),
    ]
    password: Password
    device: Annotated[Device, Meta(description="The client's name for itself; shown in the list of sessions.")] = ""
    totp: TotpCode = ""


class Login(PasswordLogin, frozen=True, forbid_unknown_fields=True):
    device_token: Annotated[
        str,
        Meta(
            max_length=DEVICE_TOKEN_LENGTH,
            description="From an earlier login on this device; with it, wrong passwords from other devices do not "
            "delay this login.",
        ),
    ] = ""


L = TypeVar("L", bound=PasswordLogin)


class SessionTokens(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of a session."""

    user_id: Id
    session_id: Id
    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  # the kind of a token, not one
    expires_in: Annotated[int, Meta(description="Seconds until the access token expires.")]
    refresh_token: Annotated[str, Meta(description="Valid for one refresh.")]


class NewSession(SessionTokens, frozen=True, kw_only=True):
    device_token: Annotated[
        str,
        Meta(
            description="Send it with the next login from this device. It is valid until the password changes, "
            "and grants no access by itself. After a code of two-step verification it takes the place of "
            "further codes for 30 days."
        ),
    ]
    erasure_cancelled: ErasureCancelled = UNSET


class RefreshToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    refresh_token: Annotated[str, Meta(min_length=1, max_length=1024)]


class SessionItem(msgspec.Struct, frozen=True):
    session_id: Id
    device: str
    created_at: Time
    last_refreshed_at: Time
    current: Annotated[bool, Meta(description="Whether this is the session of the request.")]
    address: Annotated[
        str | UnsetType,
        Meta(description="Network address of the login, as much of it as is recorded; absent if none is."),
    ] = UNSET


async def log_in(incoming: Request[NoQuery, Login]) -> Response:
    answer = await begin(incoming, incoming.body.device_token)
    tokens = required(answer.tokens)
    body = NewSession(
        **msgspec.structs.asdict(_session_tokens(tokens)),
        device_token=answer.device_token,
        erasure_cancelled=answer.erasure_cancelled or UNSET,
    )
    return Response(status=201, body=body, position=tokens.position, written_by=tokens.user_id)


async def refresh(incoming: Request[NoQuery, RefreshToken]) -> Response:
    tokens = await renew(incoming.context, incoming.body.refresh_token)
    return Response(status=200, body=_session_tokens(tokens), position=tokens.position, written_by=tokens.user_id)


async def begin(incoming: Request[NoQuery, L], device_token: str) -> LoginResponse:
    """Begins a session if the password is right; `device_token`: empty if the client sent none.

    Raises:
        RateLimited: too many wrong passwords for this login, or from this device if it has a token.
    """
    auth, limiter, body = incoming.context.remotes.auth, incoming.context.limiter, incoming.body
    by_login = password_attempts.of_login(limiter, body.login)
    by_code = password_attempts.of_code(limiter, body.login) if body.totp else None
    everyones = [by_login, by_code] if by_code is not None else [by_login]
    own = [password_attempts.of_device(limiter, device_token)] if device_token else []
    with password_attempts.judged(*everyones, *own):
        _check(incoming, own or everyones)
        request = LoginRequest(
            login=body.login,
            password=body.password,
            device=body.device,
            address=incoming.address,
            device_token=device_token,
            known_device_only=not by_login.allowed,
            totp=body.totp,
            proved_device_only=by_code is not None and not by_code.allowed,
            session_id=new_id(),
        )
        try:
            # A code is good once, and the call that was lost may have used it.
            return await auth.command(auth.stub.login, request, repeatable=not body.totp)
        except RateLimited:
            # Auth does not know the device token: count the attempt as one without.
            _check(incoming, everyones)
            raise


def _check(incoming: Request[NoQuery, L], guesses: list[Guess]) -> None:
    """
    Raises:
        RateLimited: one of the limits was reached.
    """
    for guess in guesses:
        incoming.limit_states.extend(guess.limit_states)
        rate_limiter.check(guess.limit_states)


async def renew(parts: GatewayContext, refresh_token: str) -> Tokens:
    """Returns the next tokens of a session and spends the refresh token."""
    request = RefreshSessionRequest(refresh_token=refresh_token)
    answer = await parts.remotes.session.command(parts.remotes.session.stub.refresh_session, request, repeatable=True)
    return required(answer.tokens)


async def list_sessions(incoming: Request[PageQuery, NoBody]) -> Response:
    session, query = incoming.context.remotes.session, incoming.query
    request = ListSessionsRequest(user_id=incoming.caller.user_id, limit=query.limit, cursor=query.cursor)
    answer = await session.read(session.stub.list_sessions, request)
    items = [_item(active, incoming.caller.session_id) for active in answer.sessions]
    return Response(body=Page(items, answer.next or None), position=answer.position)


async def end_one(incoming: Request[NoQuery, NoBody]) -> Response:
    session_id = incoming.path_id("session_id", SessionNotFound)
    reason = "logout" if session_id == incoming.caller.session_id else "revoked_elsewhere"
    return await _end_one(incoming, session_id, reason)


async def end_current(incoming: Request[NoQuery, NoBody]) -> Response:
    return await _end_one(incoming, incoming.caller.session_id, "logout")


async def end_others(incoming: Request[NoQuery, NoBody]) -> Response:
    caller = incoming.caller
    return _ended(
        incoming,
        await _revoke(
            incoming,
            RevokeSessionRequest(
                user_id=caller.user_id, all_but_session_id=caller.session_id, reason="revoked_elsewhere"
            ),
        ),
    )


async def _end_one(incoming: Request[NoQuery, NoBody], session_id: str, reason: str) -> Response:
    request = RevokeSessionRequest(user_id=incoming.caller.user_id, session_id=session_id, reason=reason)
    answer = await _revoke(incoming, request)
    # The stream reports it too; on this gateway it takes effect before the response.
    incoming.context.revocations.add(session_id, reason)
    return _ended(incoming, answer)


async def _revoke(incoming: Request[NoQuery, NoBody], request: RevokeSessionRequest) -> RevokeSessionResponse:
    session = incoming.context.remotes.session
    return await session.command(session.stub.revoke_session, request, repeatable=True)


def _ended(incoming: Request[NoQuery, NoBody], answer: RevokeSessionResponse) -> Response:
    return Response(status=204, position=answer.position, written_by=incoming.caller.user_id)


def _session_tokens(tokens: Tokens) -> SessionTokens:
    return SessionTokens(
        user_id=tokens.user_id,
        session_id=tokens.session_id,
        access_token=tokens.access_token,
        expires_in=tokens.expires_in,
        refresh_token=tokens.refresh_token,
    )


def _item(session: Session, current_id: str) -> SessionItem:
    return SessionItem(
        session.session_id,
        session.device,
        shown(session.created_at),
        shown(session.last_refreshed_at),
        session.session_id == current_id,
        session.address or UNSET,
    )


def session_of(refresh_token: str) -> str:
    """Rate-limit key of a refresh: the session id with which the refresh token begins."""
    return refresh_token.partition(".")[0][:_SESSION_ID]


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/sessions",
        tag="Sessions",
        summary="Log in",
        handler=log_in,
        query=NoQuery,
        body=Login,
        description=(
            "Wrong passwords are counted per login, and per device if the request has the token of an earlier "
            "login: after ten in a row further attempts have to wait, each longer than the last. If two-step "
            "verification is on, the right password alone is answered with `totp_required`: repeat the request with "
            "`totp`. A wrong code, or one that was used, is `invalid_totp` and counts as a wrong password. A login "
            "cancels the deletion of the account, if that was requested. Failed "
            "logins are recorded for the owner, but not those without a device token that are refused for the login's "
            "limit."
        ),
        answers={201: DocumentedResponse(description="A new session.", body=NewSession)},
        errors=(InvalidCredentials, TotpRequired, InvalidTotp, EmailNotVerified),
        limits=(AppliedLimit(limit=policies.LOGIN_ADDRESS),),
        public=True,
        writes=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/sessions/refresh",
        tag="Sessions",
        summary="Get the next tokens",
        description=(
            "A refresh token can be used once. Within 30 seconds, and while its successor is unused, the same "
            "token is accepted once more; any other reuse ends the session."
        ),
        handler=refresh,
        query=NoQuery,
        body=RefreshToken,
        answers={200: DocumentedResponse(description="The next tokens.", body=SessionTokens)},
        errors=(InvalidRefreshToken, RefreshTokenReused),
        limits=(
            AppliedLimit(limit=policies.REFRESH_ADDRESS),
            AppliedLimit(limit=policies.REFRESH, key=lambda body: session_of(body.refresh_token)),
        ),
        public=True,
        writes=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/sessions",
        tag="Sessions",
        summary="One's sessions",
        handler=list_sessions,
        query=PageQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="A page of sessions.", body=Page[SessionItem])},
        reads=True,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/sessions",
        tag="Sessions",
        summary="End all other sessions",
        handler=end_others,
        query=NoQuery,
        body=NoBody,
        answers={204: DocumentedResponse(description="Only the session of the request is left.")},
        writes=True,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/sessions/current",
        tag="Sessions",
        summary="Log out",
        handler=end_current,
        query=NoQuery,
        body=NoBody,
        answers={204: DocumentedResponse(description="The session has ended.")},
        errors=(SessionNotFound,),
        writes=True,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/sessions/{session_id}",
        tag="Sessions",
        summary="End a session",
        handler=end_one,
        query=NoQuery,
        body=NoBody,
        answers={204: DocumentedResponse(description="The session has ended.")},
        errors=(SessionNotFound,),
        writes=True,
    ),
)
