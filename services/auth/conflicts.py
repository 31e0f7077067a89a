"""Retries a command that appends to several aggregates in one batch."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from contracts.errors import Unavailable
from streams.log import Conflict

R = TypeVar("R")

# More conflicts in a row are not caused by concurrent commands.
_ATTEMPTS = 20


async def retry_on_conflict(attempt: Callable[[], Awaitable[R]]) -> R:
    """Retries the attempt after each conflict.

    Raises:
        Unavailable: every attempt met a conflict.
    """
    for _ in range(_ATTEMPTS):
        try:
            return await attempt()
        except Conflict:
            continue
    raise Unavailable("Too many concurrent changes of the same account; try again shortly.", retry_after=1)
