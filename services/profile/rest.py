"""Reading profiles over REST, cacheable: what anybody may see, with a tag that tells whether it has changed.

A profile is public, and so is a plain read of one, here as at the gateway. Whoever wants more, that a read waits for a
position or is made in a user's name, shows a service token as over gRPC; with TLS on, every caller shows a certificate.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from contracts.errors import Forbidden, NotFound, ProfileNotFound, Unauthenticated, VestnikError
from contracts.rpc_permissions import permitted_callers
from contracts.values.ids import is_id
from infra.rpc.call_context import POSITION, REQUEST_ID, Call, enter
from infra.rpc.service_tokens import Verifier
from infra.rpc.tls import names
from services.profile.commands import ProfileCommands

AUTHORIZATION = "authorization"
_CERTIFICATE = "certificate"
_SAME_OVER_GRPC = "/vestnik.profile.v1.ProfileService/GetProfile"
CACHE_CONTROL = "public, max-age=60, stale-while-revalidate=300"


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457, with our stable code."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str


def profile_app(commands: ProfileCommands, verifier: Verifier) -> Starlette:
    async def get_profile(request: Request) -> Response:
        try:
            return await _get(request, commands, _call(request, verifier))
        except VestnikError as error:
            return _problem(request, error)

    async def not_found(request: Request, _: Exception) -> Response:
        return _problem(request, NotFound())

    return Starlette(
        routes=[Route("/profiles/{user_id}", get_profile, methods=["GET"])],
        exception_handlers={404: not_found},
    )


async def serve_rest(
    app: Starlette, listener: socket.socket, stop: asyncio.Event, drain: float, tls_context: ssl.SSLContext | None
) -> None:
    """Serves on the socket until `stop` is set, then finishes the requests at work."""
    config = uvicorn.Config(
        app,
        http=_Showing,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=int(drain) or 1,
    )
    config.load()
    config.ssl = tls_context
    server = _Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.should_exit = True
        stopping.cancel()
        await serving


class _Server(uvicorn.Server):
    """The process has one owner of its signals, and it is not this server."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Showing(HttpToolsProtocol):
    """Lets the application see which certificate the caller has shown."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the parent has it
        super().connection_made(transport)
        self.app_state = {**self.app_state, _CERTIFICATE: transport.get_extra_info("peercert")}


async def _get(request: Request, commands: ProfileCommands, call: Call) -> Response:
    user_id = request.path_params["user_id"]
    if not is_id(user_id):
        raise ProfileNotFound
    enter(call)
    found, position = await commands.get(user_id, call)
    tag = f'"{found.etag}"'
    headers = {"ETag": tag, "Cache-Control": CACHE_CONTROL, POSITION: position.encode(), REQUEST_ID: call.request_id}
    if _has(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(found.json(), media_type="application/json", headers=headers)


def _call(request: Request, verifier: Verifier) -> Call:
    """
    Raises:
        Unauthenticated: more than a public read is asked for without a token, or the token is not good.
        Forbidden: a service that has no business here.
        Invalid: the position is not one.
    """
    headers = request.headers
    if AUTHORIZATION not in headers:
        if POSITION in headers:
            raise Unauthenticated("A service token is needed to have a read wait for a position.")
        return Call.from_metadata(headers, "rest", None)
    credential = verifier.credential(headers[AUTHORIZATION])
    certificate = getattr(request.state, _CERTIFICATE, None)
    if certificate is not None and not names(certificate, credential.service):
        raise Unauthenticated("The service token is another party's than the certificate.")
    if credential.service not in permitted_callers(_SAME_OVER_GRPC):
        raise Forbidden(f"{credential.service} may not call this at profile.")
    return Call.from_metadata(headers, credential.service, credential.user)


def _has(if_none_match: str, tag: str) -> bool:
    """Weak comparison, as If-None-Match asks for (RFC 9110, section 13.1.2)."""
    tags = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return "*" in tags or tag in tags


def _problem(request: Request, error: VestnikError) -> Response:
    problem = Problem(
        type="about:blank",
        title=HTTPStatus(error.status).phrase,
        status=error.status,
        detail=error.detail,
        instance=request.url.path,
        code=error.code,
    )
    headers = {"Cache-Control": "no-store"}
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(error.retry_after or 1)
    return Response(
        msgspec.json.encode(problem),
        status_code=error.status,
        media_type="application/problem+json",
        headers=headers,
    )
