"""The counts of a load while it runs, and its report as a table or as an object."""

import math
from array import array
from collections import Counter

import msgspec

_EXAMPLES = 5


class Report(msgspec.Struct, frozen=True):
    """The outcome of a load. Totals are of the whole history in the system; rates are of this run."""

    users: int
    friendships: int
    messages: int
    conversations: int
    # Messages that this run sent, and how many of them the system had already.
    sent: int
    repeated: int
    # Duration of the message phase.
    seconds: float
    rate: float
    p50_ms: float
    p99_ms: float
    in_flight: int
    errors: int
    error_kinds: dict[str, int]
    # Retried requests, by reason.
    retries: dict[str, int]
    # Whether the run was stopped before its end.
    stopped: bool


class Tally:
    """The counters of a running load."""

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
        # Grouped by the message without its request-specific part.
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
    """Formats the report as a table."""
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
    """The nearest-rank percentile of ordered seconds, in milliseconds."""
    if not ordered:
        return 0.0
    return round(ordered[math.ceil(share * len(ordered)) - 1] * 1000, 2)
