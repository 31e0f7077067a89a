"""Metric of data keys that cannot be had, by reason, and the error that goes with it."""

import logging

from prometheus_client import Counter

from contracts.errors import KeysUnavailable

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


def unavailable(reason: str, explanation: str) -> KeysUnavailable:
    """The error to raise; counts and logs it. The explanation is for operators, and names no plain text."""
    FAILURES.labels(reason).inc()
    log.error("personal data cannot be read: %s", explanation)
    return KeysUnavailable()
