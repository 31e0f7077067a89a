"""Spans of requests, named by the template of their route: a path may hold ids of people."""

from typing import Final

from starlette.types import Scope

from contracts.tracing import spans
from contracts.tracing.spans import Span

# Keys of the request's state: the span, None if the request is not traced, and the traceparent of what it causes.
SPAN: Final = "span"
TRACEPARENT: Final = "traceparent"
# Probes and scrapes.
_NOT_TRACED = frozenset(("/healthz", "/readyz", "/metrics"))
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_HTTP, _OTHER = "HTTP", "_OTHER"


def begin_span(scope: Scope, traceparent: str | None) -> None:
    """Begins the span of a request if it is sampled. `traceparent`: the client's, if it sent a valid one."""
    state = scope["state"]
    if not spans.is_on() or scope["type"] != "http" or scope["path"] in _NOT_TRACED:
        state[SPAN], state[TRACEPARENT] = None, traceparent
        return
    state[SPAN], state[TRACEPARENT] = spans.enter(traceparent, _HTTP)


def end_span(scope: Scope, route: str | None, status: int | None) -> None:
    """Ends the span of the request, if there is one that has not ended yet.

    `route`: the template; None: no route matched. `status`: None if the client left before its response.
    """
    span: Span | None = scope["state"][SPAN]
    if span is None:
        return
    scope["state"][SPAN] = None
    method = scope["method"] if scope["method"] in _METHODS else _OTHER
    name = method if method in _METHODS else _HTTP
    span.rename(f"{name} {route}" if route is not None else name)
    span.set("http.request.method", method)
    span.set("url.scheme", scope["scheme"])
    if route is not None:
        span.set("http.route", route)
    end_with_status(span, status)


def begin_command() -> tuple[Span | None, str | None]:
    """The span of a command over a WebSocket if it is sampled, and the traceparent of what it causes."""
    return spans.enter(None, "command")


def end_command(span: Span, command: str, method: str, route: str, status: int) -> None:
    """Ends the span of a command, which runs through the route of REST."""
    span.rename(f"command {command}")
    span.set("network.protocol.name", "websocket")
    span.set("http.request.method", method)
    span.set("http.route", route)
    end_with_status(span, status)


def end_with_status(span: Span, status: int | None) -> None:
    if status is None:
        span.end("client_disconnected")
        return
    span.set("http.response.status_code", status)
    span.end(str(status) if status >= 500 else "")
