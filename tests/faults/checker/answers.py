"""Answers: only those that the interface has for the operation, and for an outage."""

from collections.abc import Iterator

from tests.faults.checker.finding import Bounds, Finding
from tests.faults.history import History, Request

# What the interface allows for any request while a part of the system is away.
_OUTAGE = frozenset(
    {
        (503, "unavailable"),
        (503, "no_quorum"),
        (503, "keys_unavailable"),
        (503, "overloaded"),
        (503, "out_of_space"),
        (503, "read_model_behind"),
        (503, "history_lost"),
        (504, "deadline_exceeded"),
        # Answers of a proxy whose gateway is away or does not answer.
        (502, ""),
        (503, ""),
        (504, ""),
    }
)
_LIMITED = frozenset({(429, "rate_limited")})
_TOKEN = frozenset({(401, "unauthenticated")})
# By operation: the refusals that are right for what the clients do.
_REFUSALS: dict[str, frozenset[tuple[int, str]]] = {
    "register": frozenset({(409, "username_taken")}),
    "verify": frozenset({(410, "token_expired"), (422, "invalid_token"), (422, "password_required")}),
    "log_in": frozenset({(401, "invalid_credentials"), (403, "email_not_verified")}),
    "refresh": frozenset({(401, "invalid_refresh_token"), (401, "refresh_token_reused")}),
    "revoke": _TOKEN | {(404, "session_not_found")},
    "look": _TOKEN,
    # A new account is known to the other services soon after it was verified.
    "befriend": _TOKEN | {(404, "user_not_found")},
    "unfriend": _TOKEN,
    "send": _TOKEN | {(403, "not_friends")},
    "read": _TOKEN | {(403, "not_friends")},
}


def wrong_status(history: History, _: Bounds) -> Iterator[Finding]:
    """Each error is one that the interface names; 500 never is."""
    for request in history.of(Request):
        answer = (request.status, request.code)
        is_error = request.status >= 400
        if is_error and answer not in _OUTAGE | _LIMITED | _REFUSALS.get(request.operation, frozenset()):
            yield Finding(
                "answers.wrong_status",
                f"{request.client} was answered {request.status} {request.code or 'without a code'} to"
                f" {request.operation}; request {request.request_id}",
                request.ended,
            )


def without_retry_after(history: History, _: Bounds) -> Iterator[Finding]:
    """Each 503 and 504 of the product says when to try again; frames of a WebSocket have no headers."""
    for request in history.of(Request):
        if request.status in {503, 504} and request.code and request.transport == "rest" and not request.retry_after:
            yield Finding(
                "answers.without_retry_after",
                f"{request.client} was answered {request.status} {request.code} to {request.operation} without"
                f" Retry-After; request {request.request_id}",
                request.ended,
            )


def late(history: History, bounds: Bounds) -> Iterator[Finding]:
    """Each answer comes within the bound."""
    for request in history.of(Request):
        if request.status and request.ended - request.started > bounds.answer:
            yield Finding(
                "answers.late",
                f"{request.client} waited {request.ended - request.started:.1f} s for {request.status} to"
                f" {request.operation}; request {request.request_id}",
                request.ended,
            )
