"""Passwords: bcrypt in threads of its own, since one hash keeps a core busy for a fifth of a second.

The queue is bounded: a burst of logins is told to come back, instead of waiting until nobody wants the answer.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from contracts.errors import Invalid, Overloaded, Violation
from contracts.fields import PASSWORD_BYTES

R = TypeVar("R")

_SHORTEST, _LONGEST = PASSWORD_BYTES
# Jobs a worker may have waiting: at cost 12 the last of them waits about three seconds.
_QUEUE_PER_WORKER = 16
_RETRY_AFTER = 2


class Passwords:
    """Hashes and checks passwords; `close` when done."""

    def __init__(self, cost: int, *, workers: int | None = None, queue: int | None = None) -> None:
        workers = workers or os.cpu_count() or 1
        self._cost = cost
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="bcrypt")
        self._places = threading.BoundedSemaphore(workers + (workers * _QUEUE_PER_WORKER if queue is None else queue))

    async def hash(self, password: str, path: str = "/password") -> str:
        """The bcrypt hash, in its text form.

        Raises:
            Invalid: the password, which stands at `path`, is not 8 to 72 bytes long.
            Overloaded: too many are waiting.
        """
        raw = accepted(password, path)
        return (await self._run(lambda: bcrypt.hashpw(raw, bcrypt.gensalt(self._cost)))).decode()

    async def matches(self, password: str, password_hash: str | None) -> bool:
        """Whether the password is the one that was hashed; without a hash the same work, and no.

        Raises:
            Overloaded: too many are waiting.
        """
        raw = password.encode()
        possible = password_hash is not None and _SHORTEST <= len(raw) <= _LONGEST
        same = await self._run(lambda: self._check(raw[:_LONGEST], password_hash))
        return same and possible

    def is_outdated(self, password_hash: str) -> bool:
        """Whether the hash cost less than one does today."""
        return _cost_of(password_hash) < self._cost

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _check(self, raw: bytes, password_hash: str | None) -> bool:
        """A no takes as long whatever it is about: an older, cheaper hash is made up for.

        Cost c takes twice as long as c - 1, so that one of each cost from c to d - 1 takes as long, after c, as d.
        """
        if password_hash is None:
            return bcrypt.checkpw(raw, _nobodys(self._cost))
        same = bcrypt.checkpw(raw, password_hash.encode())
        if not same:
            for cost in range(_cost_of(password_hash), self._cost):
                bcrypt.checkpw(raw, _nobodys(cost))
        return same

    async def _run(self, job: Callable[[], R]) -> R:
        if not self._places.acquire(blocking=False):
            raise Overloaded("Too many logins and registrations are waiting.", retry_after=_RETRY_AFTER)
        future = self._pool.submit(job)
        # Given back when the work is over, not when its caller has gone.
        future.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(future)


def accepted(password: str, path: str = "/password") -> bytes:
    """The bytes of the password, which stands at `path` in the request.

    Raises:
        Invalid: they are not 8 to 72; bcrypt would ignore what follows, so longer ones are refused, never cut.
    """
    raw = password.encode()
    if not _SHORTEST <= len(raw) <= _LONGEST or b"\0" in raw:
        message = f"must be {_SHORTEST} to {_LONGEST} bytes long in UTF-8"
        raise Invalid(violations=(Violation(path, message),))
    return raw


def _cost_of(password_hash: str) -> int:
    """`$2b$12$…`"""
    return int(password_hash.split("$")[2])


def _nobodys(cost: int) -> bytes:
    """Well-formed and nobody's: checking against it costs what checking against a real one does."""
    return b"$2b$%02d$" % cost + b"." * 53
