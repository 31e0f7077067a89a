"""Reading profiles over REST, cacheable: what anybody may see, with a tag that tells whether it has changed."""

import asyncio
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.errors import NotFound, ProfileNotFound, VestnikError
from contracts.identifiers import is_id, new_id
from contracts.positions import Position
from infra.rpc.context import ACTOR, POSITION, REQUEST_ID, TRACEPARENT, Call, enter
from services.profile.commands import ProfileCommands

CACHE_CONTROL = "public, max-age=60, stale-while-revalidate=300"


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457, with our stable code."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str


def profile_app(commands: ProfileCommands) -> Starlette:
    async def get_profile(request: Request) -> Response:
        try:
            return await _get(request, commands)
        except VestnikError as error:
            return _problem(request, error)

    async def not_found(request: Request, _: Exception) -> Response:
        return _problem(request, NotFound())

    return Starlette(
        routes=[Route("/profiles/{user_id}", get_profile, methods=["GET"])],
        exception_handlers={404: not_found},
    )


async def serve_rest(commands: ProfileCommands, listener: socket.socket, stop: asyncio.Event, drain: float) -> None:
    """Serves on the socket until `stop` is set, then finishes the requests at work."""
    config = uvicorn.Config(
        profile_app(commands),
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=int(drain) or 1,
    )
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


async def _get(request: Request, commands: ProfileCommands) -> Response:
    user_id = request.path_params["user_id"]
    if not is_id(user_id):
        raise ProfileNotFound
    call = _call(request.headers)
    enter(call)
    found, position = await commands.get(user_id, call)
    tag = f'"{found.etag}"'
    headers = {"ETag": tag, "Cache-Control": CACHE_CONTROL, POSITION: position.encode(), REQUEST_ID: call.request_id}
    if _has(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(found.json(), media_type="application/json", headers=headers)


def _call(headers: Mapping[str, str]) -> Call:
    return Call(
        request_id=headers.get(REQUEST_ID) or new_id(),
        traceparent=headers.get(TRACEPARENT),
        position=Position.decode(headers.get(POSITION, "")),
        actor=headers.get(ACTOR),
        caller="rest",
    )


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
