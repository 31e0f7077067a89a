"""Clock skew between this process's machine and those of its callers, measured with their service tokens."""

from collections.abc import Callable
from time import monotonic

from prometheus_client import Gauge

SKEW = Gauge(
    "vestnik_service_token_clock_skew_seconds",
    "Seconds by which the caller's clock is ahead of this process's, at least: the time of issue of the newest service "
    "token in 5 to 10 minutes, less this process's time when the token came. Tokens are refused from 30 s on.",
    ("caller",),
)
# Seconds. A caller that makes calls has a new token at least as often.
_WINDOW = 300.0


class ClockSkew:
    """The greatest difference of a token's time of issue to its arrival, for each caller, in the last minutes.

    A token is reused, so that most arrive later than they were issued. The newest one arrives at once.
    """

    def __init__(self, *, monotonic: Callable[[], float] = monotonic) -> None:
        self._monotonic = monotonic
        # By caller: when the present window began, its greatest difference and that of the window before it, if any.
        self._windows: dict[str, tuple[float, float, float | None]] = {}

    def observe(self, caller: str, ahead: float) -> None:
        """`ahead`: the token's time of issue, less this process's time; in seconds."""
        now = self._monotonic()
        began, greatest, previous = self._windows.get(caller, (now, ahead, None))
        if now - began >= _WINDOW:
            began, greatest, previous = now, ahead, greatest
        greatest = max(greatest, ahead)
        self._windows[caller] = began, greatest, previous
        if previous is not None:
            SKEW.labels(caller).set(max(greatest, previous))
        elif greatest >= 0:
            SKEW.labels(caller).set(greatest)
        # Else the caller is behind, or all of its tokens so far are old: this process may have just started.
