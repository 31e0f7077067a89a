"""REST endpoint for cacheable reads of public profiles, with an ETag.

A profile is public, so a plain read needs no authentication, as at the gateway. A read that waits for a position, or
that is made on behalf of a user, needs a service token as over gRPC. With TLS, every caller presents a certificate.
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
from contracts.services import permitted_callers
from contracts.tracing.spans import Span, SpanKind, child
from contracts.values.ids import is_id
from infra.rpc.call_context import POSITION, REQUEST_ID, Call, enter
from infra.rpc.service_tokens import Verifier
from infra.rpc.tls import names
from services.profile.commands import ProfileCommands

AUTHORIZATION = "authorization"
_CERTIFICATE = "certificate"
_SAME_OVER_GRPC = "/vestnik.profile.v1.ProfileService/GetProfile"
_ROUTE = "/profiles/{user_id}"
CACHE_CONTROL = "public, max-age=60, stale-while-revalidate=300"


class Problem(msgspec.Struct, frozen=True):
    """Problem details (RFC 9457), with the stable error code."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str


def profile_app(commands: ProfileCommands, verifier: Verifier) -> Starlette:
    async def get_profile(request: Request) -> Response:
        span: Span | None = None
        status = VestnikError.status
        try:
            call = _call(request, verifier)
            span = child(call.traceparent, SpanKind.SERVER, "GET", _ROUTE)
            if span is not None:
                call = msgspec.structs.replace(call, traceparent=span.traceparent)
            response = await _get(request, commands, call)
            status = response.status_code
        except VestnikError as error:
            response = _problem(request, error)
            status = error.status
        finally:
            if span is not None:
                _end(span, status)
        return response

    async def not_found(request: Request, _: Exception) -> Response:
        return _problem(request, NotFound())

    return Starlette(
        routes=[Route(_ROUTE, get_profile, methods=["GET"])],
        exception_handlers={404: not_found},
    )


async def serve_rest(
    app: Starlette, listener: socket.socket, stop: asyncio.Event, drain: float, tls_context: ssl.SSLContext | None
) -> None:
    """Serves on the socket until `stop` is set, then drains requests in progress for up to `drain` seconds."""
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
    """uvicorn server without signal handlers: the process handles signals elsewhere."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Showing(HttpToolsProtocol):
    """Exposes the caller's TLS certificate to the application."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the parent has it
        super().connection_made(transport)
        self.app_state = {**self.app_state, _CERTIFICATE: transport.get_extra_info("peercert")}


async def _get(request: Request, commands: ProfileCommands, call: Call) -> Response:
    user_id = request.path_params["user_id"]
    if not is_id(user_id):
        raise ProfileNotFound
    enter(call)
    profile, position = await commands.get(user_id, call)
    tag = f'"{profile.etag}"'
    headers = {"ETag": tag, "Cache-Control": CACHE_CONTROL, POSITION: position.encode(), REQUEST_ID: call.request_id}
    if _has(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(profile.json(), media_type="application/json", headers=headers)


def _call(request: Request, verifier: Verifier) -> Call:
    """
    Raises:
        Unauthenticated: the request needs a token and has none, or the token is invalid or does not match the
            certificate.
        Forbidden: the service may not call this.
        Invalid: the position is malformed.
    """
    headers = request.headers
    if AUTHORIZATION not in headers:
        if POSITION in headers:
            raise Unauthenticated("A read that waits for a position needs a service token.")
        return Call.from_metadata(headers, "rest", None)
    credential = verifier.credential(headers[AUTHORIZATION])
    certificate = getattr(request.state, _CERTIFICATE, None)
    if certificate is not None and not names(certificate, credential.service):
        raise Unauthenticated("The service token and the certificate belong to different parties.")
    if credential.service not in permitted_callers(_SAME_OVER_GRPC):
        raise Forbidden(f"{credential.service} may not call this at profile.")
    return Call.from_metadata(headers, credential.service, credential.user)


def _end(span: Span, status: int) -> None:
    span.set("http.request.method", "GET")
    span.set("http.route", _ROUTE)
    span.set("http.response.status_code", status)
    span.end(str(status) if status >= VestnikError.status else "")


def _has(if_none_match: str, tag: str) -> bool:
    """Whether If-None-Match contains the tag, by weak comparison (RFC 9110, section 13.1.2)."""
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
