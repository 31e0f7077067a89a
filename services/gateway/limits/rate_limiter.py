"""Token-bucket rate limiter in bounded memory, and the `RateLimit` response headers.

Every decision is synchronous and uses only this gateway's state. Counts are exchanged with the other gateways in the
background (shared_counts.py).

Header fields as in draft-ietf-httpapi-ratelimit-headers (structured fields: policy name, `q` quota, `w` window in
seconds, `qu` unit if not requests; `r` remaining, `t` seconds until some is refilled).
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cache, lru_cache
from hashlib import blake2b

import msgspec

from contracts.errors import RateLimited

# Keys held by all limits together, about 250 bytes each.
_KEYS = 200_000
_DIGEST = 12
# Size of the digest cache: most requests come from few keys.
_DIGESTS = 10_000


class Subject(StrEnum):
    """The key by which a limit counts."""

    ADDRESS = "address"
    ACCOUNT = "account"
    # A value in the body, such as the login.
    BODY = "body"


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A quota of requests per window, refilled evenly."""

    name: str
    quota: int
    # Seconds.
    window: int
    subject: Subject
    # Size of the bucket; the quota if None.
    burst: int | None = None
    # Whether gateways share the counts; not needed for a limit that only protects the gateway itself.
    shared: bool = True
    # Unit of the quota; empty for requests.
    unit: str = ""
    # Least use of a key that is published to the other gateways.
    publish_from: int = 1
    # Whether a request is refunded that the event store refused, so that nothing was stored: see policies.py.
    refunds_outages: bool = False

    @property
    def capacity(self) -> int:
        return self.burst or self.quota

    @property
    def per_second(self) -> float:
        return self.quota / self.window

    @property
    def refill_seconds(self) -> float:
        """Seconds until a fully used bucket is full again."""
        return self.capacity / self.per_second


class LimitState(msgspec.Struct, frozen=True):
    """State of one caller's limit after a request."""

    limit: Limit
    # Requests or units left.
    remaining: int
    # Seconds until one more is available.
    resets_in: int
    allowed: bool


class RateLimiter:
    """All limits of a gateway; when full, the limit with the most keys evicts its least recently used one.

    Keys are held only as keyed digests, so that messages between gateways identify no one.
    """

    def __init__(
        self,
        secret: bytes,
        *,
        keys: int = _KEYS,
        clock: Callable[[], float] = time.monotonic,
        exhausted: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`exhausted`: called with a limit's name when a request finds it exhausted."""
        self._digest = lru_cache(_DIGESTS)(
            lambda key: blake2b(key.encode(errors="replace"), digest_size=_DIGEST, key=secret).digest()
        )
        self._keys = keys
        self._clock = clock
        self._exhausted = exhausted
        self._tables: dict[str, _Table] = {}
        self._held = 0

    def consume(self, limit: Limit, key: str, cost: int = 1) -> LimitState:
        """Counts one request, or its `cost` in the limit's unit, if the limit allows it."""
        digest = self._digest(key)
        table = self._table(limit)
        now, rate = self._clock(), table.rate
        full_at = table.full_at.get(digest, now)
        if full_at < now:
            full_at = now
        left = table.capacity - (full_at - now) * rate
        allowed = left >= cost
        if allowed:
            left -= cost
            self._set(table, digest, full_at + cost / rate)
            if table.shared:
                table.note(digest, cost)
        else:
            self._exhausted(limit.name)
        remaining = int(left) if left > 0.0 else 0
        awaited = remaining + 1 if allowed else max(remaining + 1, cost)
        return LimitState(limit, remaining, math.ceil((awaited - left) / rate) or 1, allowed)

    def take_all(self, limits: Sequence[Limit], key: str) -> list[LimitState]:
        """Counts one request against all limits, or against none if one of them is exhausted."""
        limit_states = [self.consume(limit, key) for limit in limits]
        if not all(state.allowed for state in limit_states):
            self.give_back([state.limit for state in limit_states if state.allowed], key)
        return limit_states

    def give_back(self, limits: Iterable[Limit], key: str) -> None:
        """Refunds a counted request, even if it was already published to other gateways."""
        digest = self._digest(key)
        for limit in limits:
            table = self._table(limit)
            full_at = table.full_at.get(digest)
            if full_at is not None:
                table.full_at[digest] = full_at - 1.0 / table.rate
            if table.shared:
                table.uses[digest] = table.uses.get(digest, 0) - 1

    def merge_remote(self, limit: Limit, uses: Mapping[bytes, int], *, ago: float = 0.0) -> None:
        """Adds other gateways' counts from `ago` seconds ago; negative counts are refunds."""
        table, at = self._table(limit), self._clock() - ago
        for digest, count in uses.items():
            full_at = max(table.full_at.get(digest, at), at)
            self._set(table, digest, full_at + count / table.rate)

    def drain_local_counts(self) -> dict[str, dict[bytes, int]]:
        """Returns and resets the counts of this gateway: by limit name and key digest."""
        collected = {}
        for name, table in self._tables.items():
            uses, table.uses = table.uses, {}
            if changed := {digest: count for digest, count in uses.items() if count}:
                collected[name] = changed
        return collected

    @property
    def held(self) -> int:
        """Number of keys held."""
        return self._held

    def _table(self, limit: Limit) -> "_Table":
        table = self._tables.get(limit.name)
        if table is None:
            table = self._tables[limit.name] = _Table(limit)
        return table

    def _set(self, table: "_Table", digest: bytes, full_at: float) -> None:
        if digest not in table.full_at:
            self._held += 1
        table.full_at[digest] = full_at
        table.full_at.move_to_end(digest)
        if self._held > self._keys:
            largest = max(self._tables.values(), key=lambda candidate: len(candidate.full_at))
            forgotten, _ = largest.full_at.popitem(last=False)
            largest.small.pop(forgotten, None)
            self._held -= 1


class _Table:
    """Buckets of one limit, by key digest."""

    def __init__(self, limit: Limit) -> None:
        self.rate = limit.per_second
        self.capacity = limit.capacity
        self.shared = limit.shared
        self.publish_from = limit.publish_from
        # Monotonic time at which the bucket is full again.
        self.full_at: OrderedDict[bytes, float] = OrderedDict()
        # Counts of this gateway since the last drain.
        self.uses: dict[bytes, int] = {}
        # Counts that are still too small to be published.
        self.small: dict[bytes, int] = {}

    def note(self, digest: bytes, cost: int) -> None:
        """Records use for publication."""
        if self.publish_from > 1:
            cost += self.small.pop(digest, 0)
            if cost < self.publish_from:
                self.small[digest] = cost
                return
        self.uses[digest] = self.uses.get(digest, 0) + cost


def headers(limit_states: Iterable[LimitState]) -> dict[str, str]:
    """`RateLimit` headers for the limits that a request was counted against."""
    known = list(limit_states)
    if not known:
        return {}
    return {
        "ratelimit-policy": ", ".join([_policy(state.limit) for state in known]),
        "ratelimit": ", ".join([f'"{state.limit.name}";r={state.remaining};t={state.resets_in}' for state in known]),
    }


@cache
def _policy(limit: Limit) -> str:
    unit = f';qu="{limit.unit}"' if limit.unit else ""
    return f'"{limit.name}";q={limit.quota};w={limit.window}{unit}'


def check(limit_states: Iterable[LimitState]) -> None:
    """Passes a request that is within all limits.

    Raises:
        RateLimited: a limit is exhausted; carries the seconds to wait.
    """
    waits = [state.resets_in for state in limit_states if not state.allowed]
    if waits:
        raise RateLimited(retry_after=max(waits))
