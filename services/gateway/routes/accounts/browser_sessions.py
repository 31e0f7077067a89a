"""Routes for browser sessions: refresh token and device token are in `HttpOnly` cookies.

A script injected into the page can act while it runs, but can steal nothing that lasts longer than an access token.
Browsers send the cookies only to these routes and never for another site (`SameSite=Strict`). They do send them for
another origin of the same site, whose requests for a refresh are refused.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta
from starlette.datastructures import Headers

from contracts.errors import (
    EmailNotVerified,
    Forbidden,
    InvalidCredentials,
    InvalidRefreshToken,
    InvalidTotp,
    RefreshTokenReused,
    SessionNotFound,
    TotpRequired,
)
from contracts.rpc.vestnik.session.v1 import Tokens
from contracts.values.field_types import Id
from infra.settings import Settings
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
from services.gateway.routes.accounts import sessions
from services.gateway.routes.accounts.sessions import ErasureCancelled, PasswordLogin
from services.gateway.security import origins

_PATH = "/v1/browser/sessions"
_REFRESH, _DEVICE = "vestnik_refresh", "vestnik_device"
_DAY = 86_400
_DEVICE_SECONDS = 400 * _DAY


class BrowserTokens(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of a browser session; the refresh token is in a cookie."""

    user_id: Id
    session_id: Id
    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  # the kind of a token, not one
    expires_in: Annotated[int, Meta(description="Seconds until the access token expires.")]
    erasure_cancelled: ErasureCancelled = UNSET


async def log_in(incoming: Request[NoQuery, PasswordLogin]) -> Response:
    token = _cookie(incoming.headers.getlist("cookie"), _DEVICE) or ""
    answer = await sessions.begin(incoming, token if len(token) <= sessions.DEVICE_TOKEN_LENGTH else "")
    settings = incoming.context.settings
    return _tokens(
        settings,
        required(answer.tokens),
        201,
        (device_cookie(settings, answer.device_token),),
        erasure_cancelled=answer.erasure_cancelled,
    )


async def refresh(incoming: Request[NoQuery, NoBody]) -> Response:
    origins.check_own(incoming.headers, incoming.context.settings.public_url)
    token = _cookie(incoming.headers.getlist("cookie"), _REFRESH)
    if token is None:
        raise InvalidRefreshToken
    return _tokens(incoming.context.settings, await sessions.renew(incoming.context, token), 200)


async def log_out(incoming: Request[NoQuery, NoBody]) -> Response:
    ended = await sessions.end_current(incoming)
    return Response(
        status=ended.status,
        cookies=(_set(incoming.context.settings, _REFRESH, "", seconds=0),),
        position=ended.position,
        written_by=ended.written_by,
    )


def device_cookie(settings: Settings, token: str) -> str:
    """The cookie that identifies the browser at its next login."""
    return _set(settings, _DEVICE, token, seconds=_DEVICE_SECONDS)


def _tokens(
    settings: Settings,
    tokens: Tokens,
    status: int,
    more_cookies: tuple[str, ...] = (),
    *,
    erasure_cancelled: bool = False,
) -> Response:
    body = BrowserTokens(
        user_id=tokens.user_id,
        session_id=tokens.session_id,
        access_token=tokens.access_token,
        expires_in=tokens.expires_in,
        erasure_cancelled=erasure_cancelled or UNSET,
    )
    cookie = _set(settings, _REFRESH, tokens.refresh_token, seconds=settings.session_days * _DAY)
    return Response(
        status=status,
        body=body,
        cookies=(cookie, *more_cookies),
        position=tokens.position,
        written_by=tokens.user_id,
    )


def _set(settings: Settings, name: str, value: str, *, seconds: int) -> str:
    # Browsers drop a Secure cookie set over plain http; over https it is always Secure.
    secure = "; Secure" if settings.issuer.startswith("https://") or settings.hsts_seconds else ""
    return f"{name}={value}; Path={_PATH}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"


def _cookie(headers: list[str], name: str) -> str | None:
    """The value of this cookie (RFC 6265, section 5.4), however malformed other cookies of the host are.

    None if there is none, or if two values differ: one of them is foreign. Empty values are ignored.
    """
    pairs = (pair.strip().partition("=") for header in headers for pair in header.split(";"))
    values = {value.strip() for cookie_name, _, value in pairs if cookie_name.rstrip() == name and value.strip()}
    return values.pop() if len(values) == 1 else None


def _session_of(headers: Headers) -> str | None:
    token = _cookie(headers.getlist("cookie"), _REFRESH)
    return sessions.session_of(token) if token is not None else None


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="POST",
        path=_PATH,
        tag="Sessions",
        summary="Log in from a page in a browser",
        description=(
            "Like `POST /v1/sessions`, but the refresh token and the device token are set as cookies that no "
            "script can read."
        ),
        handler=log_in,
        query=NoQuery,
        body=PasswordLogin,
        answers={201: DocumentedResponse(description="A new session.", body=BrowserTokens, headers=("Set-Cookie",))},
        errors=(InvalidCredentials, TotpRequired, InvalidTotp, EmailNotVerified),
        limits=(AppliedLimit(limit=policies.LOGIN_ADDRESS),),
        public=True,
        writes=True,
    ),
    Endpoint(
        method="POST",
        path=f"{_PATH}/refresh",
        tag="Sessions",
        summary="Get the next tokens for a page in a browser",
        description=(
            "Like `POST /v1/sessions/refresh`, with the refresh token from the cookie, and only for pages of this "
            "origin."
        ),
        handler=refresh,
        query=NoQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="The next tokens.", body=BrowserTokens, headers=("Set-Cookie",))},
        errors=(InvalidRefreshToken, RefreshTokenReused, Forbidden),
        limits=(
            AppliedLimit(limit=policies.REFRESH_ADDRESS),
            AppliedLimit(limit=policies.REFRESH, key_of_headers=_session_of),
        ),
        public=True,
        writes=True,
    ),
    Endpoint(
        method="DELETE",
        path=f"{_PATH}/current",
        tag="Sessions",
        summary="Log out a page in a browser",
        handler=log_out,
        query=NoQuery,
        body=NoBody,
        answers={
            204: DocumentedResponse(
                description="The session has ended, and the cookie was cleared.", headers=("Set-Cookie",)
            )
        },
        errors=(SessionNotFound,),
        writes=True,
    ),
)
