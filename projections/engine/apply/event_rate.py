"""The rate at which events of one stream are applied."""

import time

_RATE_SECONDS = 1.0


class EventRate:
    """Events per second, measured over at least one second."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._events = 0
        self._rate = 0.0

    def after(self, events: int) -> float:
        """The rate, once this many more events were applied."""
        self._events += events
        elapsed = time.monotonic() - self._since
        if elapsed >= _RATE_SECONDS:
            self._rate = self._events / elapsed
            self._since, self._events = time.monotonic(), 0
        return self._rate
