"""Cache of the newest message pages as sent to clients: unchanged pages are not fetched from messaging again.

A page is never served on its own: for each request messaging confirms that this user may see it and that it is still
current.
"""

from collections import OrderedDict

import msgspec

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
        self._most_bytes = most_bytes
        self._pages: OrderedDict[tuple[str, str, int], KnownPage] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._pages)

    def get(self, one: str, other: str, limit: int) -> KnownPage | None:
        """The newest page of the two users' conversation, whichever of them requested it."""
        key = _key(one, other, limit)
        page = self._pages.get(key)
        if page is not None:
            self._pages.move_to_end(key)
        return page

    def put(self, one: str, other: str, limit: int, page: KnownPage) -> None:
        key = _key(one, other, limit)
        if (before := self._pages.pop(key, None)) is not None:
            self.bytes -= len(before.body) + _OVERHEAD
        self._pages[key] = page
        self.bytes += len(page.body) + _OVERHEAD
        while self.bytes > self._most_bytes:
            _, oldest = self._pages.popitem(last=False)
            self.bytes -= len(oldest.body) + _OVERHEAD


def _key(one: str, other: str, limit: int) -> tuple[str, str, int]:
    return (one, other, limit) if one < other else (other, one, limit)
