"""What a load did, counted while it runs: as a line or a table for people, as one object for programs."""

import math
from array import array
from collections import Counter

import msgspec

_EXAMPLES = 5


class Report(msgspec.Struct, frozen=True):
    """The totals are of the history as it now stands in the system; the rates are of this run."""

    users: int
    friendships: int
    messages: int
    conversations: int
    # Messages that this run sent, and those among them that the system had already.
    sent: int
    repeated: int
    # Of the messages' phase.
    seconds: float
    rate: float
    p50_ms: float
    p99_ms: float
    in_flight: int
    errors: int
    error_kinds: dict[str, int]
    # Requests that were repeated, by reason: the system was busy or away for a moment.
    retries: dict[str, int]
    # Whether it was stopped before the end.
    stopped: bool


class Tally:
    """Counts as the load goes on."""

    def __init__(self) -> None:
        self.users = self.friendships = self.messages = self.conversations = 0
        self.sent = self.repeated = 0
        self.seconds = 0.0
        self.errors: Counter[str] = Counter()
        # The first errors in full.
        self.examples: list[str] = []
        self._latencies = array("d")

    def took(self, seconds: float) -> None:
        self._latencies.append(seconds)

    def failed(self, what: str, error: Exception) -> None:
        # The kind without what belongs to one request alone.
        self.errors[str(error).partition(":")[0]] += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"{what}: {error}")

    def report(self, *, in_flight: int, retries: Counter[str], stopped: bool) -> Report:
        latencies = sorted(self._latencies)
        return Report(
            users=self.users,
            friendships=self.friendships,
            messages=self.messages,
            conversations=self.conversations,
            sent=self.sent,
            repeated=self.repeated,
            seconds=round(self.seconds, 3),
            rate=round(self.sent / self.seconds, 1) if self.seconds else 0.0,
            p50_ms=_milliseconds(latencies, 0.50),
            p99_ms=_milliseconds(latencies, 0.99),
            in_flight=in_flight,
            errors=self.errors.total(),
            error_kinds=dict(self.errors),
            retries=dict(retries),
            stopped=stopped,
        )


def describe(report: Report) -> str:
    """The report for people."""
    rows = [
        f"users          {report.users:>10,}",
        f"friendships    {report.friendships:>10,}",
        f"messages       {report.messages:>10,}   ({report.sent:,} by this run, {report.repeated:,} of them repeats)",
        f"conversations  {report.conversations:>10,}",
        f"rate           {report.rate:>10,.0f}   messages a second with {report.in_flight} in flight",
        f"send p50 / p99 {report.p50_ms:>10,.1f} / {report.p99_ms:,.1f} ms",
        f"errors         {report.errors:>10,}",
    ]
    rows += [f"  {count:,} x {kind}" for kind, count in report.error_kinds.items()]
    if report.retries:
        rows.append("retried        " + ", ".join(f"{count:,} x {reason}" for reason, count in report.retries.items()))
    return "\n".join(rows)


def _milliseconds(ordered: list[float], share: float) -> float:
    """The nearest-rank percentile."""
    if not ordered:
        return 0.0
    return round(ordered[math.ceil(share * len(ordered)) - 1] * 1000, 2)
