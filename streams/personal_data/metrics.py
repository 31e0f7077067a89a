"""Metric of data keys that cannot be had, by reason, and the error that goes with it."""

import logging
import time

from prometheus_client import Counter

from contracts.errors import KeysUnavailable, MessageNotFound, UserNotFound, VestnikError
from contracts.personal_data.key_ids import wrapped_by
from streams.lru_cache import LruCache
from streams.personal_data.cipher import Undecipherable

log = logging.getLogger(__name__)

# The store does not answer.
UNREACHABLE = "unreachable"
# The store has neither the key nor a sign of its destruction.
LOST = "lost"
# This process lacks the master key that wraps the key.
MASTER_KEY = "master_key"
# What is stored cannot be deciphered: it was altered, or another key made it.
UNREADABLE = "unreadable"

FAILURES = Counter("vestnik_data_key_failures", "Reads of personal data that failed for want of a key.", ("reason",))
for _reason in (UNREACHABLE, LOST, MASTER_KEY, UNREADABLE):
    FAILURES.labels(_reason)


# When each explanation was logged last: readers repeat what fails.
_logged: LruCache[str, float] = LruCache(1_000)
_LOG_SECONDS = 10.0


class KeysUnreachable(KeysUnavailable):
    """Personal data cannot be read or written while the store of its keys does not answer; try again shortly."""


def unavailable(reason: str, explanation: str) -> KeysUnavailable:
    """Counts and logs that a key cannot be had; returns the error to raise.

    `explanation`: for the log, at most once in ten seconds; without plain text. The log shows a digest in place of the
    user in the id of a key.
    """
    FAILURES.labels(reason).inc()
    now, last = time.monotonic(), _logged.get(explanation)
    if last is None or now - last >= _LOG_SECONDS:
        _logged.put(explanation, now)
        log.error("personal data cannot be read: %s", explanation)
    return KeysUnreachable() if reason == UNREACHABLE else KeysUnavailable()


def undecipherable(explanation: str) -> Undecipherable:
    """Counts and logs as `unavailable` does; returns the error to raise where a retry is useless."""
    unavailable(UNREADABLE, explanation)
    return Undecipherable(explanation)


def destroyed(key_id: str) -> VestnikError:
    """Returns the error to raise where data would be sealed with a destroyed key.

    `UserNotFound` for the key of a person, who was erased; `MessageNotFound` for the key of a month's texts.
    """
    return UserNotFound() if wrapped_by(key_id) is None else MessageNotFound()
