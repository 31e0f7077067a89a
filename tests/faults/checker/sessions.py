"""Sessions: tokens end with a revocation, a reused refresh token ends its session, nothing else does."""

from collections import defaultdict
from collections.abc import Iterator

import msgspec

from tests.faults.checker.finding import Bounds, Finding
from tests.faults.history import History, LiveEvent, Outcome, Request

_UNAUTHORIZED = 401


class End(msgspec.Struct, frozen=True):
    """Why a session has ended, and when that was answered."""

    reason: str
    at: float


def good_after_revocation(history: History, bounds: Bounds) -> Iterator[Finding]:
    """After a revocation was acknowledged, or a reuse was noticed, the session's tokens are refused."""
    ends: dict[str, End] = {}
    for request in history.requests("revoke"):
        if request.outcome is Outcome.OK:
            _keep_first(ends, request.arguments["session_id"], End("its revocation", request.ended))
    for request in _reuses(history, bounds):
        if request.status == _UNAUTHORIZED:
            _keep_first(ends, request.session_id, End("the reuse of its refresh token", request.ended))
    for request in history.of(Request):
        end = ends.get(request.session_id)
        if end is not None and request.outcome is Outcome.OK and request.started > end.at + bounds.revocation:
            yield Finding(
                "sessions.good_after_revocation",
                f"{request.client} was answered {request.status} to {request.operation}"
                f" {request.started - end.at:.1f} s after {end.reason}; request {request.request_id}",
                request.started,
            )
    for event in history.of(LiveEvent):
        end = ends.get(event.session_id)
        if end is not None and event.received > end.at + bounds.revocation:
            yield Finding(
                "sessions.good_after_revocation",
                f"{event.client} received {event.type} {event.received - end.at:.1f} s after {end.reason}",
                event.received,
            )


def reuse_unnoticed(history: History, bounds: Bounds) -> Iterator[Finding]:
    """A spent refresh token is refused once its successor was used, or its grace is over."""
    for request in _reuses(history, bounds):
        if request.outcome is Outcome.OK:
            yield Finding(
                "sessions.reuse_unnoticed",
                f"{request.client} was answered {request.status} for a refresh token that was spent before;"
                f" request {request.request_id}",
                request.started,
            )


def ended_without_cause(history: History, bounds: Bounds) -> Iterator[Finding]:
    """A refresh token that was never sent before is good while its session was not revoked."""
    revoked = {request.arguments["session_id"] for request in history.requests("revoke")}
    revoked |= {request.session_id for request in _reuses(history, bounds)}
    sent: set[str] = set()
    for request in sorted(history.requests("refresh"), key=lambda request: request.started):
        token = request.arguments["refresh_token"]
        if request.status == _UNAUTHORIZED and token not in sent and request.session_id not in revoked:
            yield Finding(
                "sessions.ended_without_cause",
                f"{request.client} was answered 401 {request.code} for a fresh refresh token;"
                f" request {request.request_id}",
                request.started,
            )
        sent.add(token)


def _reuses(history: History, bounds: Bounds) -> list[Request]:
    """The refreshes with a token that was spent for certain, and is past its grace."""
    spent: dict[str, Request] = {}
    successors: dict[str, set[str]] = defaultdict(set)
    refreshes = sorted(history.requests("refresh"), key=lambda request: request.ended)
    for request in refreshes:
        if request.outcome is Outcome.OK:
            token = request.arguments["refresh_token"]
            spent.setdefault(token, request)
            successors[token].add(request.answer["refresh_token"])
    reuses = []
    for request in refreshes:
        token = request.arguments["refresh_token"]
        first = spent.get(token)
        if first is None or first is request:
            continue
        used = [spent[successor].ended for successor in successors[token] if successor in spent]
        if any(ended < request.started for ended in used) or request.started > first.ended + bounds.refresh_grace:
            reuses.append(request)
    return reuses


def _keep_first(ends: dict[str, End], session_id: str, end: End) -> None:
    if session_id not in ends or end.at < ends[session_id].at:
        ends[session_id] = end
