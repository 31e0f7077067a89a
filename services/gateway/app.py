"""The gateway as an ASGI application: finds the route, answers every request, and lets no error out unmapped."""

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from contracts.errors import MethodNotAllowed, NotFound, Overloaded, VestnikError
from infra.rpc.context import Call, enter
from services.gateway import problems, rate_limits
from services.gateway.dispatch import Dispatcher, encoded
from services.gateway.endpoints import AnyEndpoint, Reply
from services.gateway.metrics import UNMATCHED
from services.gateway.parts import Parts
from services.gateway.rate_limits import Standing
from services.gateway.tracing import request_id

log = logging.getLogger(__name__)
# Requests at work at once; more are told to come back, so that what waits stays bounded.
MOST_RUNNING = 1_000
_COMMON = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
_ENCODER = msgspec.json.Encoder()


class _Path:
    """One path with what can be done there."""

    def __init__(self, template: str, methods: Mapping[str, Dispatcher[Any, Any]]) -> None:
        self.template = template
        self.methods = dict(methods)
        if "GET" in self.methods:
            self.methods["HEAD"] = self.methods["GET"]
        self.allow = ", ".join(sorted(self.methods))
        self._pattern = compile_path(template)[0]

    def match(self, path: str) -> dict[str, str] | None:
        """What stands in the place of the names, if it is this path."""
        found = self._pattern.fullmatch(path)
        return found.groupdict() if found else None


class App:
    """All routes over the parts of one gateway."""

    def __init__(self, endpoints: Iterable[AnyEndpoint], parts: Parts, *, most_running: int = MOST_RUNNING) -> None:
        by_path: dict[str, dict[str, Dispatcher[Any, Any]]] = {}
        for endpoint in endpoints:
            by_path.setdefault(endpoint.path, {})[endpoint.method] = Dispatcher(endpoint, parts)
        paths = [_Path(template, methods) for template, methods in by_path.items()]
        self._literal = {path.template: path for path in paths if "{" not in path.template}
        self._patterns = [path for path in paths if "{" in path.template]
        self._metrics = parts.metrics
        self._most_running = most_running
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"{scope['type']} is not served")
        request = Request(scope, receive)
        began = time.perf_counter()
        own_id = request_id(request.headers.get("x-request-id"))
        path = self._find(scope)
        self._running += 1
        self._metrics.running.set(self._running)
        try:
            response = await self._respond(request, path, own_id)
        except ClientDisconnect:
            return
        finally:
            self._running -= 1
            self._metrics.running.set(self._running)
        response.headers["x-request-id"] = own_id
        await response(scope, receive, send)
        template = path.template if path is not None else UNMATCHED
        self._metrics.answered(request.method, template, response.status_code, time.perf_counter() - began)

    async def _respond(self, request: Request, path: _Path | None, own_id: str) -> Response:
        standings: list[Standing] = []
        more: dict[str, str] = {}
        try:
            reply = await self._answer(request, path, own_id, standings)
            return _response(reply, rate_limits.headers(standings))
        except VestnikError as error:
            found = error
        except ClientDisconnect:
            raise
        except Exception:
            # The edge: whatever went wrong inside is logged here and never shown outside.
            log.exception("request %s failed: %s %s", own_id, request.method, path.template if path else "")
            found = VestnikError()
        if isinstance(found, MethodNotAllowed) and path is not None:
            more["allow"] = path.allow
        return _problem(found, request.url.path, rate_limits.headers(standings) | more)

    async def _answer(self, request: Request, path: _Path | None, own_id: str, standings: list[Standing]) -> Reply:
        if path is None:
            raise NotFound
        dispatcher = path.methods.get(request.method)
        if dispatcher is None:
            raise MethodNotAllowed
        if self._running > self._most_running:
            raise Overloaded(retry_after=1)
        enter(Call(request_id=own_id))
        return await dispatcher.serve(request, own_id, standings)

    def _find(self, scope: Scope) -> _Path | None:
        literal = self._literal.get(scope["path"])
        if literal is not None:
            scope["path_params"] = {}
            return literal
        for path in self._patterns:
            names = path.match(scope["path"])
            if names is not None:
                scope["path_params"] = names
                return path
        return None


def _response(reply: Reply, limits: Mapping[str, str]) -> Response:
    body, headers = encoded(reply)
    return Response(
        body, status_code=reply.status, headers={**_COMMON, "cache-control": "no-store", **headers, **limits}
    )


def _problem(error: VestnikError, path: str, more: Mapping[str, str]) -> Response:
    headers = {**_COMMON, **problems.headers(error), **more}
    return Response(_ENCODER.encode(problems.problem(error, path)), status_code=error.status, headers=headers)
