"""How long the retention of some data has been held back, as a metric."""

import time
from collections.abc import Callable

from prometheus_client import Gauge

OVERDUE = Gauge(
    "vestnik_retention_overdue_seconds",
    "Since when data that is older than it is kept is left, by kind of data; without what a legal hold keeps.",
    ["data"],
)


class RetentionProgress:
    """Measures for one kind of data since when sweeps have left some that is due; 0 after a complete sweep."""

    def __init__(self, data: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        OVERDUE.labels(data).set_function(self.seconds)

    def swept(self, *, complete: bool) -> None:
        """Notes the end of a sweep. `complete`: it has left nothing that is due."""
        if complete:
            self._since = None
        elif self._since is None:
            self._since = self._clock()

    def seconds(self) -> float:
        """Seconds since the first of the latest sweeps that were not complete."""
        return 0.0 if self._since is None else self._clock() - self._since
