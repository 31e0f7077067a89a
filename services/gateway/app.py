"""The gateway's ASGI application: routes requests and maps every error to a response."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from contracts.errors import DeadlineExceeded, MethodNotAllowed, NotFound, VestnikError
from infra.rpc.call_context import Call, enter
from services.gateway.context import GatewayContext
from services.gateway.http import problems
from services.gateway.http.dispatcher import Dispatcher, encoded
from services.gateway.http.endpoint import AnyEndpoint, Response
from services.gateway.http.request import HttpRequest
from services.gateway.http.response import WholeResponse
from services.gateway.http.streaming_response import StreamingReply
from services.gateway.http.trace_headers import parse_request_id
from services.gateway.limits import rate_limiter
from services.gateway.limits.concurrency_limit import MOST_RUNNING, ConcurrencyLimiter
from services.gateway.limits.rate_limiter import LimitState
from services.gateway.observability.metrics import UNMATCHED, WEB
from services.gateway.routes.live.websocket import WebSockets
from services.gateway.security.cors import Cors
from services.gateway.static.files import WebFile, WebFiles

log = logging.getLogger(__name__)
_ENCODER = msgspec.json.Encoder()
_HIDDEN_SLASH = b"%2f"
_USUAL = {**problems.NOTHING_TO_RUN, "cache-control": "no-store"}


class _Path:
    """A path template with its dispatcher per method; HEAD is served as GET."""

    def __init__(self, template: str, methods: Mapping[str, Dispatcher[Any, Any]]) -> None:
        self.template = template
        self.methods = dict(methods)
        if "GET" in self.methods:
            self.methods["HEAD"] = self.methods["GET"]
        self.allow = ", ".join(sorted(self.methods))
        self.begin = template.partition("{")[0]
        self.pattern = compile_path(template)[0]


class App:
    """All routes of one gateway, with static files, CORS and the concurrency limit."""

    def __init__(
        self,
        endpoints: Iterable[AnyEndpoint],
        parts: GatewayContext,
        *,
        files: WebFiles | None = None,
        most_running: int = MOST_RUNNING,
    ) -> None:
        by_path: dict[str, dict[str, Dispatcher[Any, Any]]] = {}
        for endpoint in endpoints:
            by_path.setdefault(endpoint.path, {})[endpoint.method] = Dispatcher(endpoint, parts)
        paths = [_Path(template, methods) for template, methods in by_path.items()]
        self._literal = {path.template: path for path in paths if "{" not in path.template}
        self._patterns = [path for path in paths if "{" in path.template]
        self.parts = parts
        self._metrics = parts.metrics
        self._live = parts.live
        self._cors = Cors.parse(parts.settings.cors_origins)
        self._files = files
        self._load = ConcurrencyLimiter(most_running)
        self._metrics.running.set_function(lambda: self._load.running)
        commands = {
            dispatcher.endpoint.command: dispatcher
            for path in paths
            for dispatcher in path.methods.values()
            if dispatcher.endpoint.command
        }
        self._sockets = WebSockets(commands, parts, load=self._load)

    def end_streams(self) -> None:
        """Ends live streams, so that the process can stop."""
        self._live.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._sockets.serve(scope, receive, send)
            return
        request = HttpRequest(scope, receive)
        began = time.perf_counter()
        own_id = parse_request_id(request.headers.get("x-request-id"))
        path = None
        if not _hides_a_slash(scope):
            file = self._files.find(scope["path"]) if self._files is not None else None
            if file is not None and request.method in ("GET", "HEAD"):
                await self._serve(file, request, own_id, scope, send)
                return
            path = self._find(scope["path"], request)
        try:
            with self._load:
                response = await self._respond(request, path, own_id)
        except ClientDisconnect:
            return
        response.named["x-request-id"] = own_id
        if self._cors is not None:
            self._cors.add(request.headers, response.named)
        template = path.template if path is not None else UNMATCHED
        if isinstance(response, StreamingReply):
            # Recorded before the stream is sent: its duration is not a response time.
            self._metrics.answered(request.method, template, response.status_code, time.perf_counter() - began)
            del request, path
            await response(scope, receive, send)
            return
        await response(scope, receive, send)
        self._metrics.answered(request.method, template, response.status_code, time.perf_counter() - began)

    async def _serve(self, file: WebFile, request: HttpRequest, own_id: str, scope: Scope, send: Send) -> None:
        response = file.answer(request.headers)
        response.headers["x-request-id"] = own_id
        await response(scope, request.receive, send)
        self._metrics.answered(request.method, WEB, response.status_code, 0.0)

    async def _respond(self, request: HttpRequest, path: _Path | None, own_id: str) -> WholeResponse | StreamingReply:
        standings: list[LimitState] = []
        more: dict[str, str] = {}
        try:
            reply = await self._answer(request, path, own_id, standings)
            return _response(reply, rate_limiter.headers(standings))
        except VestnikError as error:
            found = error
        except ClientDisconnect:
            raise
        except asyncio.CancelledError:
            # The process is stopping and its drain time is over. Whether the request took effect is unknown.
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            found = DeadlineExceeded()
        except Exception:
            # The edge: unexpected errors are logged here and never shown to clients.
            log.exception("request %s failed: %s %s", own_id, request.method, path.template if path else "")
            found = VestnikError()
        if isinstance(found, MethodNotAllowed) and path is not None:
            more["allow"] = path.allow
        return _problem(found, request.shown_path, rate_limiter.headers(standings) | more)

    async def _answer(
        self, request: HttpRequest, path: _Path | None, own_id: str, standings: list[LimitState]
    ) -> Response:
        if path is None:
            raise NotFound
        dispatcher = path.methods.get(request.method)
        if dispatcher is None:
            if request.method == "OPTIONS" and self._cors is not None:
                allowed = self._cors.preflight(request.headers, path.allow)
                if allowed is not None:
                    return Response(status=204, headers=allowed)
            raise MethodNotAllowed
        self._load.check()
        enter(Call(request_id=own_id))
        return await dispatcher.serve(request, own_id, standings)

    def _find(self, text: str, request: HttpRequest) -> _Path | None:
        literal = self._literal.get(text)
        if literal is not None:
            return literal
        for path in self._patterns:
            if text.startswith(path.begin) and (found := path.pattern.fullmatch(text)) is not None:
                request.path_params = found.groupdict()
                return path
        return None


def _hides_a_slash(scope: Scope) -> bool:
    """Whether the path has an encoded slash, which decodes to two segments where a proxy has seen one."""
    return _HIDDEN_SLASH in scope.get("raw_path", b"").lower()


def _response(reply: Response, limits: Mapping[str, str]) -> WholeResponse | StreamingReply:
    if reply.stream is not None:
        return StreamingReply(reply.stream, {**problems.NOTHING_TO_RUN, **reply.headers, **limits})
    body, headers = encoded(reply)
    return WholeResponse(body, reply.status, {**_USUAL, **headers, **limits}, reply.cookies)


def _problem(error: VestnikError, path: str, more: Mapping[str, str]) -> WholeResponse:
    headers = {**problems.headers(error), **more}
    return WholeResponse(_ENCODER.encode(problems.problem(error, path)), error.status, headers)
