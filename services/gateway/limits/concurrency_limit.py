"""How much a gateway has at work: more than so much is told to come back, so that what waits stays bounded."""

from contracts.errors import Overloaded

MOST_RUNNING = 1_000


class ConcurrencyLimiter:
    """A context for each request or command; `check` within it says whether that is too many."""

    __slots__ = ("_most", "running")

    def __init__(self, most: int = MOST_RUNNING) -> None:
        self._most = most
        self.running = 0

    def __enter__(self) -> None:
        self.running += 1

    def __exit__(self, *raised: object) -> None:
        self.running -= 1

    def check(self) -> None:
        """
        Raises:
            Overloaded: more are at work than may be.
        """
        if self.running > self._most:
            raise Overloaded(retry_after=1)
