"""Reads with a position show what was acknowledged before, and no answered position is unknown later."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator

from tests.faults.checker.finding import Bounds, Finding
from tests.faults.history import Connection, History, Outcome

# What may be said about a position that this system has never answered.
_UNKNOWN_POSITION = 422


def stale(history: History, _: Bounds) -> Iterator[Finding]:
    """A client that sends the last position along reads all that it has written or read before."""
    floors: dict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
    for request in history.requests("send", "read"):
        if request.outcome is Outcome.OK:
            sequence = (
                int(request.answer["sequence"])
                if request.operation == "send"
                else max((int(sequence) for sequence, _ in request.answer["messages"]), default=0)
            )
            floors[request.client, request.arguments["other"]].append((request.ended, sequence))
    for known in floors.values():
        known.sort()
        highest = 0
        for index, (ended, sequence) in enumerate(known):
            highest = max(highest, sequence)
            known[index] = ended, highest
    for request in history.requests("read"):
        if request.outcome is not Outcome.OK or not request.sent_position:
            continue
        known = floors[request.client, request.arguments["other"]]
        before = bisect_left(known, (request.started, 0))
        floor = known[before - 1][1] if before else 0
        newest = max((int(sequence) for sequence, _ in request.answer["messages"]), default=0)
        if newest < floor:
            yield Finding(
                "reads.stale",
                f"{request.client} has read up to {newest} with {request.arguments['other']},"
                f" and knew {floor} before; request {request.request_id}",
                request.started,
            )


def unknown_positions(history: History, _: Bounds) -> Iterator[Finding]:
    """A position that was answered is never refused."""
    for request in history.requests("read", "look"):
        if request.sent_position and request.status == _UNKNOWN_POSITION:
            yield Finding(
                "reads.unknown_positions",
                f"{request.client} sent a position that was answered, and got 422 {request.code};"
                f" request {request.request_id}",
                request.ended,
            )
    for connection in history.of(Connection):
        if connection.resumed_from and connection.status == _UNKNOWN_POSITION:
            yield Finding(
                "reads.unknown_positions",
                f"{connection.client} resumed over {connection.transport}, and got 422 {connection.reason}",
                connection.closed,
            )
