"""Cache of conversations' newest pages as ready JSON, each valid until the conversation's next event.

Every use is validated: a snapshot taken for the same request must show the same build of the read model and the same
last event of the conversation, and the same last erasure of a user. A page that may lack an event is never cached,
since an event applied late does not change the last event.
"""

from array import array
from itertools import accumulate

import msgspec

from services.messaging.pages.queries import SEPARATOR, NewestRow
from streams.lru_cache import LruCache

# Messages of a cached page; one more is stored to show whether there are more.
KEPT = 50
_BYTES = 32 * 1024 * 1024
# Bytes of an entry's objects besides its items.
_OVERHEAD = 1_200


class PageSlice(msgspec.Struct, frozen=True):
    """A page for clients: a JSON array, the sequence of its last item (0: none), and whether there are more."""

    items: bytes
    last: int
    more: bool
    # Identifies the build and the last event; empty if the page may lack an event or is not a newest page.
    version: str = ""


class NewestPage:
    """The newest messages of a conversation; each request cuts its page from them."""

    __slots__ = ("_ends", "_items", "_sequences", "changed", "version")

    def __init__(self, row: NewestRow, identity: str = "") -> None:
        """`identity`: of the build; empty if the page may lack one of the conversation's events."""
        items = row.items.split(SEPARATOR.encode()) if row.items else []
        # Stream sequence of the last event that the page reflects.
        self.changed = row.changed
        self.version = f"{identity}.{row.changed}" if identity else ""
        self._items = b",".join(items)
        # Offset of each item's end; a comma separates two items.
        self._ends = array("L", (end - 1 for end in accumulate(len(item) + 1 for item in items)))
        self._sequences = array("q", map(int, (row.sequences or "").split()))

    @property
    def size(self) -> int:
        """Approximate memory in bytes."""
        return len(self._items) + 16 * len(self._ends) + _OVERHEAD

    def cut(self, limit: int) -> PageSlice:
        """Returns the newest `limit` messages, at most `KEPT`."""
        count = min(limit, len(self._ends))
        if not count:
            return PageSlice(b"[]", 0, False, self.version)
        items = b"[%b]" % self._items[: self._ends[count - 1]]
        return PageSlice(items, self._sequences[count - 1], len(self._ends) > count, self.version)


class NewestPages:
    """LRU cache of newest pages, bounded in bytes, for one build of the read model."""

    def __init__(self, most_bytes: int = _BYTES) -> None:
        self._identity = ""
        self._pages: LruCache[str, NewestPage] = LruCache(most_bytes, weigh=lambda page: page.size)

    @property
    def bytes(self) -> int:
        """Approximate memory of the pages."""
        return self._pages.weight

    def __len__(self) -> int:
        return len(self._pages)

    def get(self, identity: str, conversation_id: str, changed: int) -> NewestPage | None:
        """Returns the page if it is of this build and `changed` is still the conversation's last event."""
        page = self._pages.get(conversation_id) if identity == self._identity else None
        return page if page is not None and page.changed == changed else None

    def put(self, identity: str, conversation_id: str, page: NewestPage) -> None:
        if identity != self._identity:
            # After a cutover to another build, which may contain what this one lacked, or after an erasure.
            self._pages.clear()
            self._identity = identity
        self._pages.put(conversation_id, page)

    def drop(self, conversation_id: str) -> None:
        self._pages.discard(conversation_id)

    def clear(self) -> None:
        self._pages.clear()
