"""Counts the rows of the login audit by day, event and reason."""

from collections import Counter
from collections.abc import Iterable

import msgspec

from infra.history.login_audit import Row, kind_of


class SummaryRow(msgspec.Struct, frozen=True, kw_only=True):
    # In UTC: `2026-01-31`.
    day: str
    event: str
    # None: a login or a refresh. Of an operator without name and note.
    reason: str | None
    count: int


class LoginSummary:
    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            reason = "" if row.reason is None else kind_of(row.reason)
            self._counts[row.at.date().isoformat(), row.event, reason] += row.count or 1

    def rows(self) -> list[SummaryRow]:
        """Returns the counts, the oldest day first."""
        return [
            SummaryRow(day=day, event=event, reason=reason or None, count=count)
            for (day, event, reason), count in sorted(self._counts.items())
        ]
