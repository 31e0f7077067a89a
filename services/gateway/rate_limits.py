"""Rate limits: token buckets in bounded memory, and the headers that tell a client where it stands.

Header fields as in draft-ietf-httpapi-ratelimit-headers (structured fields: policy name, `q` quota, `w` window in
seconds; `r` what remains, `t` seconds until some of it comes back). A gateway counts for itself.
"""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from enum import StrEnum

import msgspec

from contracts.errors import RateLimited

_KEYS = 100_000


class Subject(StrEnum):
    """Who is counted."""

    ADDRESS = "address"
    ACCOUNT = "account"
    # Something in the body, such as the login that is tried.
    BODY = "body"


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """So many requests in a window, refilled evenly."""

    name: str
    quota: int
    # Seconds.
    window: int
    subject: Subject
    # How many may come at once; the quota where it is not said.
    burst: int | None = None

    @property
    def capacity(self) -> int:
        return self.burst or self.quota

    @property
    def per_second(self) -> float:
        return self.quota / self.window


class Standing(msgspec.Struct, frozen=True):
    """How a caller stands with a limit after a request."""

    limit: Limit
    # Requests left now.
    remaining: int
    # Seconds until there is one (more).
    resets_in: int
    allowed: bool


class RateLimiter:
    """The buckets of all limits; a bucket that has not been used the longest is forgotten first."""

    def __init__(self, *, capacity: int = _KEYS, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self._clock = clock
        # (limit, key) -> (tokens, when they were counted)
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def take(self, limit: Limit, key: str) -> Standing:
        """Counts one request."""
        now = self._clock()
        tokens, then = self._buckets.pop((limit.name, key), (float(limit.capacity), now))
        tokens = min(float(limit.capacity), tokens + (now - then) * limit.per_second)
        allowed = tokens >= 1.0
        if allowed:
            tokens -= 1.0
        self._buckets[limit.name, key] = (tokens, now)
        if len(self._buckets) > self._capacity:
            self._buckets.popitem(last=False)
        missing = 1.0 - (tokens - math.floor(tokens))
        return Standing(limit, math.floor(tokens), max(1, math.ceil(missing / limit.per_second)), allowed)


def headers(standings: Iterable[Standing]) -> dict[str, str]:
    """The response headers for the limits that a request was counted against."""
    known = list(standings)
    if not known:
        return {}
    return {
        "ratelimit-policy": ", ".join(
            f'"{found.limit.name}";q={found.limit.quota};w={found.limit.window}' for found in known
        ),
        "ratelimit": ", ".join(f'"{found.limit.name}";r={found.remaining};t={found.resets_in}' for found in known),
    }


def check(standings: Iterable[Standing]) -> None:
    """Lets a request pass that is within all limits.

    Raises:
        RateLimited: it is not; with the seconds to wait.
    """
    waits = [found.resets_in for found in standings if not found.allowed]
    if waits:
        raise RateLimited(retry_after=max(waits))


def address_key(address: str) -> str:
    """What of an address is counted: an IPv4 address, or the /64 network that one IPv6 customer has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((parsed, 64), strict=False))
    return str(parsed)
