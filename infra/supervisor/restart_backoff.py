"""Backoff before a process that ended is restarted."""

FIRST = 0.1
LONGEST = 10.0
HEALTHY_AFTER = 20.0


class Backoff:
    """Doubles the pause with every quick end; starts over once a process has run for `HEALTHY_AFTER` seconds."""

    def __init__(self) -> None:
        self._ends = 0

    @property
    def quick_ends(self) -> int:
        """Number of consecutive ends soon after a start."""
        return self._ends

    def after(self, ran_for: float) -> float:
        """Seconds to wait after the process ended, having run for `ran_for` seconds."""
        if ran_for >= HEALTHY_AFTER:
            self._ends = 0
        pause = min(FIRST * 2.0**self._ends, LONGEST)
        self._ends += 1
        return pause
