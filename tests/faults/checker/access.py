"""Friendships: none writes or reads after a removal was acknowledged, and none is refused as a friend."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence

from tests.faults.checker.conversations import Pair, pair_of
from tests.faults.checker.finding import Bounds, Finding
from tests.faults.history import History, Outcome, Request

# Seconds after which a request without an answer can have no effect any more; promised are 10.
_LATEST_EFFECT = 20.0
_CREATED = 201
_ACCEPTED = "accepted"


def after_removal(history: History, bounds: Bounds) -> Iterator[Finding]:
    """After a removal was acknowledged, no message is stored and no conversation read, from the bound on."""
    removals, additions = _changes(history, "unfriend"), _changes(history, "befriend")
    for request in history.requests("send", "read"):
        pair = pair_of(request)
        removal = _last_acknowledged(removals[pair], request, bounds.removal)
        # A repeated message is answered 200 forever.
        is_access = request.outcome is Outcome.OK and (request.operation == "read" or request.status == _CREATED)
        if is_access and removal is not None and not _any_between(additions[pair], removal, request):
            yield Finding(
                "access.after_removal",
                f"{request.client} was answered {request.status} to {request.operation}"
                f" {request.started - removal.ended:.1f} s after {removal.client} had removed"
                f" {' and '.join(sorted(pair))}; request {request.request_id}",
                request.started,
            )


def refused_friends(history: History, bounds: Bounds) -> Iterator[Finding]:
    """While a friendship lasts, neither of the two is answered that there is none."""
    removals, additions = _changes(history, "unfriend"), _changes(history, "befriend")
    for request in history.requests("send", "read"):
        if request.code != "not_friends":
            continue
        pair = pair_of(request)
        accepted = [addition for addition in additions[pair] if addition.answer.get("state") == _ACCEPTED]
        addition = _last_acknowledged(accepted, request, bounds.friendship)
        if addition is not None and not _any_between(removals[pair], addition, request):
            yield Finding(
                "access.refused_friends",
                f"{request.client} was answered not_friends to {request.operation}"
                f" {request.started - addition.ended:.1f} s after {' and '.join(sorted(pair))} had become friends;"
                f" request {request.request_id}",
                request.started,
            )


def _changes(history: History, operation: str) -> dict[Pair, list[Request]]:
    """The requests of each pair by their ends."""
    by_pair: dict[Pair, list[Request]] = defaultdict(list)
    for request in sorted(history.requests(operation), key=_end):
        by_pair[pair_of(request)].append(request)
    return by_pair


def _last_acknowledged(changes: Sequence[Request], request: Request, bound: float) -> Request | None:
    """The last change whose effect the request must have seen."""
    known = changes[: bisect_left(changes, request.started - bound, key=_end)]
    return next((change for change in reversed(known) if change.outcome is Outcome.OK), None)


def _any_between(opposites: Sequence[Request], change: Request, request: Request) -> bool:
    """Whether an opposite change may have had its effect after the change and before the end of the request."""
    return any(
        opposite.outcome is not Outcome.REFUSED
        and opposite.started < request.ended
        and (opposite.ended if opposite.outcome is Outcome.OK else opposite.ended + _LATEST_EFFECT) > change.started
        for opposite in opposites[bisect_left(opposites, change.started - _LATEST_EFFECT, key=_end) :]
    )


def _end(request: Request) -> float:
    return request.ended
