"""Limits on open connections of a gateway: in total and per client address."""

import resource
from collections import Counter

from infra.settings import Settings
from services.gateway.security.client_address import counted_as

# File descriptors reserved for everything else: logs, NATS, services.
_ELSEWHERE = 256


class ConnectionLimiter:
    def __init__(self, *, most: int, most_of_one: int) -> None:
        """`most_of_one`: per address; 0 for no limit."""
        self._most = most
        self._most_of_one = most_of_one
        self._by_address: Counter[str] = Counter()
        self._open = 0

    @classmethod
    def of(cls, settings: Settings) -> "ConnectionLimiter":
        """Limits from the settings, within the file descriptor limit, which is raised as far as the system permits."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        files_needed = settings.connections + _ELSEWHERE
        if soft != resource.RLIM_INFINITY and soft < files_needed:
            soft = files_needed if hard == resource.RLIM_INFINITY else min(files_needed, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        room = settings.connections if soft == resource.RLIM_INFINITY else max(soft - _ELSEWHERE, 1)
        # Behind a proxy all clients have its address.
        most_of_one = 0 if settings.trusted_hops else settings.connections_per_address
        return cls(most=min(settings.connections, room), most_of_one=most_of_one)

    def acquire(self, address: str) -> bool:
        """Takes a slot for a connection; false if a limit is reached. If true, the caller must `release` the slot."""
        key = counted_as(address)
        if self._open >= self._most or (self._most_of_one and self._by_address[key] >= self._most_of_one):
            if not self._by_address[key]:
                del self._by_address[key]
            return False
        self._open += 1
        self._by_address[key] += 1
        return True

    def release(self, address: str) -> None:
        key = counted_as(address)
        self._open -= 1
        self._by_address[key] -= 1
        if not self._by_address[key]:
            del self._by_address[key]
