"""Concurrency limit of a gateway: requests beyond it are refused with `Overloaded`, which bounds the backlog."""

from contracts.errors import Overloaded

MOST_RUNNING = 1_000


class ConcurrencyLimiter:
    """Context manager for each request or command; `check` refuses it if too many are running."""

    __slots__ = ("most", "running")

    def __init__(self, most: int = MOST_RUNNING) -> None:
        self.most = most
        self.running = 0

    def __enter__(self) -> None:
        self.running += 1

    def __exit__(self, *raised: object) -> None:
        self.running -= 1

    def check(self) -> None:
        """
        Raises:
            Overloaded: more are running than allowed.
        """
        if self.running > self.most:
            raise Overloaded(retry_after=1)
