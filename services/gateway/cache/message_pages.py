"""Cache of the newest message pages as sent to clients: unchanged pages are not fetched from messaging again.

A page is never served on its own: for each request messaging confirms that this user may see it and that it is still
current.
"""

import msgspec

from streams.lru_cache import LruCache

_BYTES = 16 * 1024 * 1024
# Bytes of an entry besides its body: its objects.
_OVERHEAD = 600


class KnownPage(msgspec.Struct, frozen=True):
    # As named by messaging.
    version: str
    # Of the response.
    body: bytes


class KnownPages:
    """LRU cache of pages, bounded in bytes."""

    def __init__(self, most_bytes: int = _BYTES) -> None:
        self._pages: LruCache[tuple[str, str, int], KnownPage] = LruCache(
            most_bytes, weigh=lambda page: len(page.body) + _OVERHEAD
        )

    @property
    def bytes(self) -> int:
        """Approximate memory of the pages."""
        return self._pages.weight

    def __len__(self) -> int:
        return len(self._pages)

    def get(self, one: str, other: str, limit: int) -> KnownPage | None:
        """The newest page of the two users' conversation, whichever of them requested it."""
        return self._pages.get(_key(one, other, limit))

    def put(self, one: str, other: str, limit: int, page: KnownPage) -> None:
        self._pages.put(_key(one, other, limit), page)

    def clear(self) -> None:
        self._pages.clear()


def _key(one: str, other: str, limit: int) -> tuple[str, str, int]:
    return (one, other, limit) if one < other else (other, one, limit)
