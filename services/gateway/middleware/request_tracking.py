"""Middleware that gives each request an id and records its response in the metrics."""

import time

from starlette.types import ASGIApp, Receive, Scope, Send

from contracts.tracing import traceparent
from infra.rpc.call_context import TRACEPARENT
from services.gateway.http.request_headers import parse_request_id, request_headers
from services.gateway.http.response import REQUEST_ID, STATUS
from services.gateway.observability.metrics import UNMATCHED, Metrics
from services.gateway.observability.request_spans import begin_span, end_span


class RequestTracking:
    """Puts the request's id into its state and records the status that its response notes there."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        began = begin_tracking(scope)
        await self._app(scope, receive, send)
        if scope["type"] == "http":
            path = getattr(scope.get("route"), "path", UNMATCHED)
            record_response(self._metrics, scope, path, began)


def begin_tracking(scope: Scope) -> float:
    """Gives the request its id, and a span if it is sampled; returns the time."""
    headers = request_headers(scope)
    scope["state"][REQUEST_ID] = parse_request_id(headers.get("x-request-id"))
    begin_span(scope, traceparent.valid(headers.get(TRACEPARENT)))
    return time.perf_counter()


def record_response(metrics: Metrics, scope: Scope, path: str, began: float) -> None:
    """Records the status that the response noted, if there was one, and ends the span."""
    status = scope["state"].get(STATUS)
    if status is not None:
        metrics.answered(scope["method"], path, status, time.perf_counter() - began)
    end_span(scope, None if path == UNMATCHED else path, status)
