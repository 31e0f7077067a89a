"""Newest pages as clients got them, so that a page that has not changed is not carried from messaging again.

Nothing here is shown by itself: messaging says for each request whether this very user may see the page, and whether it
is still the one.
"""

from collections import OrderedDict

import msgspec

_BYTES = 16 * 1024 * 1024
# Of an entry besides its body: the objects it is made of.
_OVERHEAD = 600


class KnownPage(msgspec.Struct, frozen=True):
    # As messaging names it.
    version: str
    # Of the answer.
    body: bytes


class KnownPages:
    """So many bytes of them; the page that was not asked for longest is forgotten first."""

    def __init__(self, most_bytes: int = _BYTES) -> None:
        self._most_bytes = most_bytes
        self._pages: OrderedDict[tuple[str, str, int], KnownPage] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._pages)

    def get(self, one: str, other: str, limit: int) -> KnownPage | None:
        """The newest page of the two people's conversation, whoever of them asked for it."""
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
