"""The newest page of conversations, kept as ready JSON for as long as nothing has happened in them.

Nothing here is believed by itself: a page is used only for a conversation whose last event, in the same build of the
read model, is known from a snapshot taken for the very request. A page that may lack an event is never kept, since
what comes late leaves no trace in that.
"""

from array import array
from collections import OrderedDict
from itertools import accumulate

import msgspec

from services.messaging.pages.queries import SEPARATOR, NewestRow

# Messages of a kept page, and one more, by which to tell whether there are more.
KEPT = 50
_BYTES = 32 * 1024 * 1024
# Of an entry besides its items: the objects it is made of.
_OVERHEAD = 1_200


class PageSlice(msgspec.Struct, frozen=True):
    """A page as clients get it: a JSON array, the sequence of its last item (0: none), and if there are more."""

    items: bytes
    last: int
    more: bool
    # Names what it was made of; empty where that may not have been all.
    version: str = ""


class NewestPage:
    """The newest messages of a conversation, of which each request takes as many as it wants."""

    __slots__ = ("_ends", "_items", "_sequences", "changed", "version")

    def __init__(self, row: NewestRow, identity: str = "") -> None:
        """`identity`: of the build, where the page has all of the conversation's events; empty where it may not."""
        items = [item.encode() for item in (row.items or "").split(SEPARATOR)] if row.items else []
        # The last event that the page knows of.
        self.changed = row.changed
        self.version = f"{identity}.{row.changed}" if identity else ""
        self._items = b",".join(items)
        # Where each item ends, a comma between two.
        self._ends = array("L", (end - 1 for end in accumulate(len(item) + 1 for item in items)))
        self._sequences = array("q", map(int, (row.sequences or "").split()))

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        return len(self._items) + 16 * len(self._ends) + _OVERHEAD

    def cut(self, limit: int) -> PageSlice:
        """The newest `limit` messages, `KEPT` at most."""
        taken = min(limit, len(self._ends))
        if not taken:
            return PageSlice(b"[]", 0, False, self.version)
        items = b"[%b]" % self._items[: self._ends[taken - 1]]
        return PageSlice(items, self._sequences[taken - 1], len(self._ends) > taken, self.version)


class NewestPages:
    """So many bytes of pages of one build; the conversation that was not read for longest is forgotten first."""

    def __init__(self, most_bytes: int = _BYTES) -> None:
        self._most_bytes = most_bytes
        self._identity = ""
        self._pages: OrderedDict[str, NewestPage] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._pages)

    def get(self, identity: str, conversation_id: str, changed: int) -> NewestPage | None:
        """The page, if it is of this build and the conversation's last event is still this one."""
        page = self._pages.get(conversation_id) if identity == self._identity else None
        if page is None or page.changed != changed:
            return None
        self._pages.move_to_end(conversation_id)
        return page

    def put(self, identity: str, conversation_id: str, page: NewestPage) -> None:
        if identity != self._identity:
            # Another build has come into use: it may show what this one could not.
            self._pages.clear()
            self._identity, self.bytes = identity, 0
        self.drop(conversation_id)
        self._pages[conversation_id] = page
        self.bytes += page.size
        while self.bytes > self._most_bytes:
            _, oldest = self._pages.popitem(last=False)
            self.bytes -= oldest.size

    def drop(self, conversation_id: str) -> None:
        if (page := self._pages.pop(conversation_id, None)) is not None:
            self.bytes -= page.size
