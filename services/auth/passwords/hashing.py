"""Password hashing: bcrypt in a dedicated thread pool, since one hash takes a core a fifth of a second.

bcrypt reads only 72 bytes, so its input is a keyed digest that fits: the Base64 of HMAC-SHA-384 under `password.key`.
Older hashes were made from the password's own bytes and are still checked that way.

The queue is bounded: a burst of logins is refused with a retry delay instead of waiting until its callers have gone.
"""

import asyncio
import base64
import hashlib
import hmac
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from contracts.errors import Invalid, Overloaded, Violation
from contracts.values.field_types import PASSWORD_BYTES, PASSWORD_CHARACTERS
from services.auth.domain import KEYED, Hashed

R = TypeVar("R")

log = logging.getLogger(__name__)
# Bytes that bcrypt reads.
_BCRYPT = 72
# Queued jobs per worker: at cost 12 the last of them waits about three seconds.
_QUEUE_PER_WORKER = 16
_RETRY_AFTER = 2


class Passwords:
    """Hashes and checks passwords in a thread pool; call `close` when done."""

    def __init__(self, cost: int, key: bytes, *, workers: int | None = None, queue: int | None = None) -> None:
        workers = workers or os.cpu_count() or 1
        self._cost = cost
        self._key = key
        self._key_id = key_id(key)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="bcrypt")
        self._slots = threading.BoundedSemaphore(workers + (workers * _QUEUE_PER_WORKER if queue is None else queue))

    async def hash(self, password: str, path: str = "/password") -> Hashed:
        """Hashes a password for storage. `path` is its place in the request, for the error.

        Raises:
            Invalid: it has fewer than 8 characters, more than 1,024 bytes, or a NUL.
            Overloaded: the queue is full.
        """
        digest = digest_of(accepted(password, path), self._key)
        hashed = await self._run(lambda: bcrypt.hashpw(digest, bcrypt.gensalt(self._cost)))
        return Hashed(password_hash=hashed.decode(), scheme=KEYED, key_id=self._key_id)

    async def matches(self, password: str, hashed: Hashed | None) -> bool:
        """Whether the password matches the hash. Without a hash it does the same work and returns False.

        Raises:
            Overloaded: the queue is full.
        """
        raw = password.encode()
        digest = digest_of(raw, self._key)
        if hashed is None or hashed.scheme == KEYED:
            candidate, possible = digest, hashed is not None and hashed.key_id == self._key_id
        else:
            candidate, possible = raw[:_BCRYPT], len(raw) <= _BCRYPT
        if hashed is not None and hashed.scheme == KEYED and not possible:
            log.error(
                "a password was hashed with password.key %s, but the current key is %s", hashed.key_id, self._key_id
            )
        same = await self._run(lambda: self._check(candidate, hashed))
        return same and possible

    def is_outdated(self, hashed: Hashed) -> bool:
        """Whether the hash should be upgraded: to a higher cost, or to a keyed digest."""
        return hashed.scheme != KEYED or _cost_of(hashed.password_hash) < self._cost

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _check(self, password: bytes, hashed: Hashed | None) -> bool:
        """Checks the password; a mismatch takes the same time whatever the hash's cost.

        Cost c takes twice as long as c - 1. So after a check at an older cost c, one more at each cost from c to
        d - 1 brings the total to that of the current cost d.
        """
        if hashed is None:
            return bcrypt.checkpw(password, _decoy_hash(self._cost))
        same = bcrypt.checkpw(password, hashed.password_hash.encode())
        if not same:
            for cost in range(_cost_of(hashed.password_hash), self._cost):
                bcrypt.checkpw(password, _decoy_hash(cost))
        return same

    async def _run(self, job: Callable[[], R]) -> R:
        if not self._slots.acquire(blocking=False):
            raise Overloaded("Too many logins and registrations are waiting.", retry_after=_RETRY_AFTER)
        future = self._pool.submit(job)
        # Released when the work is done, not when its caller is cancelled.
        future.add_done_callback(lambda _: self._slots.release())
        return await asyncio.wrap_future(future)


def accepted(password: str, path: str = "/password") -> bytes:
    """Validates a password and returns its bytes. `path` is its place in the request, for the error.

    Raises:
        Invalid: it has fewer than 8 characters, more than 1,024 bytes, or a NUL.
    """
    raw = password.encode()
    if len(password) < PASSWORD_CHARACTERS or len(raw) > PASSWORD_BYTES or b"\0" in raw:
        message = f"Must have at least {PASSWORD_CHARACTERS} characters and at most {PASSWORD_BYTES:,} bytes in UTF-8"
        raise Invalid(violations=(Violation(path, message),))
    return raw


def digest_of(raw: bytes, key: bytes) -> bytes:
    """Returns bcrypt's input: always 64 characters of Base64, without a NUL."""
    return base64.b64encode(hmac.digest(key, raw, hashlib.sha384))


def key_id(key: bytes) -> str:
    """Returns an id for the key, for events; it reveals nothing of the key."""
    return hmac.digest(key, b"vestnik password key", hashlib.sha256).hex()[:16]


def _cost_of(password_hash: str) -> int:
    """Reads the cost out of `$2b$12$…`."""
    return int(password_hash.split("$")[2])


def _decoy_hash(cost: int) -> bytes:
    """Returns a well-formed hash that no password matches; checking against it takes as long as against a real one."""
    return b"$2b$%02d$" % cost + b"." * 53
