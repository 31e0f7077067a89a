"""Sessions of a page in a browser: the refresh token is in a cookie that no script can read.

Whatever gets to run in the page by mistake can act while it runs, and can take nothing away that lasts longer than an
access token. The cookie goes to these routes alone and is never sent on the word of another site (`SameSite=Strict`);
of another origin of the same site it is sent, and not taken.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.datastructures import Headers

from contracts.errors import (
    EmailNotVerified,
    Forbidden,
    InvalidCredentials,
    InvalidRefreshToken,
    RefreshTokenReused,
    SessionNotFound,
)
from contracts.fields import Id, folded_login
from contracts.rpc.vestnik.session.v1 import Tokens
from infra.settings import Settings
from services.gateway import limits, origins
from services.gateway.endpoints import Answer, AnyEndpoint, Counted, Endpoint, Incoming, NoBody, NoQuery, Reply
from services.gateway.routes import sessions
from services.gateway.routes.sessions import Login

_PATH = "/v1/browser/sessions"
_NAME = "vestnik_refresh"
_DAY = 86_400


class BrowserTokens(msgspec.Struct, frozen=True, kw_only=True):
    """What a page needs to act as a user; the refresh token is in the cookie."""

    user_id: Id
    session_id: Id
    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  # the kind of a token, not one
    expires_in: Annotated[int, Meta(description="Seconds until the access token runs out.")]


async def log_in(incoming: Incoming[NoQuery, Login]) -> Reply:
    return _tokens(incoming.parts.settings, await sessions.begin(incoming), status=201)


async def refresh(incoming: Incoming[NoQuery, NoBody]) -> Reply:
    origins.check_own(incoming.headers, incoming.parts.settings.public_url)
    token = _cookie(incoming.headers.getlist("cookie"))
    if token is None:
        raise InvalidRefreshToken
    return _tokens(incoming.parts.settings, await sessions.renew(incoming.parts, token), status=200)


async def log_out(incoming: Incoming[NoQuery, NoBody]) -> Reply:
    ended = await sessions.end_current(incoming)
    return Reply(
        status=ended.status,
        headers={"set-cookie": _set(incoming.parts.settings, "", seconds=0)},
        position=ended.position,
        written_by=ended.written_by,
    )


def _tokens(settings: Settings, tokens: Tokens, status: int) -> Reply:
    body = BrowserTokens(
        user_id=tokens.user_id,
        session_id=tokens.session_id,
        access_token=tokens.access_token,
        expires_in=tokens.expires_in,
    )
    cookie = _set(settings, tokens.refresh_token, seconds=settings.session_days * _DAY)
    return Reply(
        status=status,
        body=body,
        headers={"set-cookie": cookie},
        position=tokens.position,
        written_by=tokens.user_id,
    )


def _set(settings: Settings, value: str, *, seconds: int) -> str:
    # Browsers keep a Secure cookie of a plain http address for nobody; behind https it is never sent without.
    secure = "; Secure" if settings.issuer.startswith("https://") or settings.hsts_seconds else ""
    return f"{_NAME}={value}; Path={_PATH}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"


def _cookie(headers: list[str]) -> str | None:
    """The one refresh token among the cookies (RFC 6265, section 5.4), whatever others of the host look like.

    Two that differ are none: somebody else has put one there, and nobody can tell which. An empty one says nothing.
    """
    pairs = (pair.strip().partition("=") for header in headers for pair in header.split(";"))
    values = {value.strip() for name, _, value in pairs if name.rstrip() == _NAME and value.strip()}
    return values.pop() if len(values) == 1 else None


def _session_of(headers: Headers) -> str | None:
    token = _cookie(headers.getlist("cookie"))
    return sessions.session_of(token) if token is not None else None


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="POST",
        path=_PATH,
        tag="Sessions",
        summary="Log in from a page in a browser",
        description="As `POST /v1/sessions`; the refresh token comes in a cookie that no script can read.",
        handler=log_in,
        query=NoQuery,
        body=Login,
        answers={201: Answer(description="A new session.", body=BrowserTokens, headers=("Set-Cookie",))},
        errors=(InvalidCredentials, EmailNotVerified),
        limits=(
            Counted(limit=limits.LOGIN_ADDRESS),
            Counted(limit=limits.LOGIN_NAME, key=lambda body: folded_login(body.login.strip())),
        ),
        public=True,
        writes=True,
    ),
    Endpoint(
        method="POST",
        path=f"{_PATH}/refresh",
        tag="Sessions",
        summary="Get the next tokens for a page in a browser",
        description=(
            "As `POST /v1/sessions/refresh`, with the refresh token of the cookie, and for pages of this origin alone."
        ),
        handler=refresh,
        query=NoQuery,
        body=NoBody,
        answers={200: Answer(description="The next tokens.", body=BrowserTokens, headers=("Set-Cookie",))},
        errors=(InvalidRefreshToken, RefreshTokenReused, Forbidden),
        limits=(Counted(limit=limits.REFRESH_ADDRESS), Counted(limit=limits.REFRESH, key_of_headers=_session_of)),
        public=True,
        writes=True,
    ),
    Endpoint(
        method="DELETE",
        path=f"{_PATH}/current",
        tag="Sessions",
        summary="Log a page in a browser out",
        handler=log_out,
        query=NoQuery,
        body=NoBody,
        answers={204: Answer(description="The session has ended, and the cookie is gone.", headers=("Set-Cookie",))},
        errors=(SessionNotFound,),
        writes=True,
    ),
)
