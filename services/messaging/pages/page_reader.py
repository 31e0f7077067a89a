"""Reads pages. Permission and content come from one snapshot taken for the request."""

from collections.abc import Mapping, Sequence
from functools import partial

import msgspec

from contracts.errors import NotFriends
from contracts.positions import Position
from contracts.subjects import conversation, read_mark
from contracts.values.cursors import encode_cursor
from projections.engine.read_model import Snapshot
from services.messaging.message_json import with_draft
from services.messaging.pages import metrics
from services.messaging.pages.newest_page_cache import KEPT, NewestPage, NewestPages, PageSlice
from services.messaging.pages.queries import SEPARATOR, ListRequest, NewestRow, PageQueries, PageRequest, RangeRequest
from services.messaging.pages.request_batcher import RequestBatcher
from services.messaging.pages.unapplied_changes import Lacking, UnappliedChanges
from services.messaging.queries import ConversationsCursor

# Whether the conversation is open, its page if cached, and the position that this reflects.
_Checked = tuple[bool, NewestPage | None, Position]
# A page, and the position that it reflects; None if the conversation is closed.
_Newest = tuple[NewestPage | None, Position]
# The same for a part, which is not cached.
_Read = tuple[PageSlice | None, Position]
# A page of conversations, and the position that it reflects.
_Listed = tuple["ConversationsPage", Position]

_LAST_SEQUENCE = 2**63 - 1
# Batch sizes of queries with results of up to megabytes each: newest pages to build, and parts of any size.
_MADE, _PARTS = 16, 8


class ConversationsPage(msgspec.Struct, frozen=True):
    """Conversations as JSON objects, with their ids, and the next page's cursor."""

    items: Sequence[str] = ()
    conversation_ids: Sequence[str] = ()
    next: str = ""

    def array(self, drafts: Mapping[str, str]) -> bytes:
        """A JSON array of the items, with these drafts by conversation."""
        if not drafts:
            return b"[%b]" % ",".join(self.items).encode()
        items = (
            with_draft(item, drafts[conversation_id]) if conversation_id in drafts else item
            for item, conversation_id in zip(self.items, self.conversation_ids, strict=True)
        )
        return b"[%b]" % ",".join(items).encode()


class PageReader:
    """Reads pages in batches, newest pages through the cache.

    All methods raise:
        ReadModelBehind: the read model has not reached the position in time, or is being built.
        Unavailable, Overloaded: the database does not answer, or too many requests are waiting.
    """

    def __init__(self, queries: PageQueries, pages: NewestPages | None = None) -> None:
        self._queries = queries
        self.pages = pages if pages is not None else NewestPages()
        self._changes = UnappliedChanges(queries.conversations_of)
        # One query at a time: larger batches cost less per request.
        self._checks: RequestBatcher[PageRequest, _Checked] = RequestBatcher(self._validate_cached, at_once=1)
        self._making: RequestBatcher[PageRequest, _Newest] = RequestBatcher(self._build_pages, together=_MADE)
        self._earlier: RequestBatcher[RangeRequest, _Read] = RequestBatcher(
            partial(self._parts_of, ascending=False), together=_PARTS
        )
        self._later: RequestBatcher[RangeRequest, _Read] = RequestBatcher(
            partial(self._parts_of, ascending=True), together=_PARTS
        )
        self._lists: RequestBatcher[ListRequest, _Listed] = RequestBatcher(self._lists_of, at_once=1)

    async def messages(
        self,
        request: PageRequest,
        position: Position,
        *,
        before: int | None,
        after: int | None,
        limit: int,
        known: str = "",
    ) -> tuple[PageSlice | None, Position]:
        """Returns a page of the conversation: newest first below `before`, or oldest first above `after`.

        None: unchanged since the version `known`, which the caller has.

        Raises:
            NotFriends: the conversation is closed to the user.
        """
        await self._queries.wait_for(position)
        if before is None and after is None and limit <= KEPT:
            page, reached = await self._newest(request)
            if page is None:
                raise NotFriends
            return (None if known and page.version == known else page.cut(limit)), reached
        if after is not None:
            cut, reached = await self._later.load(RangeRequest(request.user_id, request.peer_id, after, limit))
        else:
            bound = _LAST_SEQUENCE if before is None else before
            cut, reached = await self._earlier.load(RangeRequest(request.user_id, request.peer_id, bound, limit))
        if cut is None:
            raise NotFriends
        return cut, reached

    async def conversations(self, request: ListRequest, position: Position) -> _Listed:
        """Returns a page of the user's open conversations, pinned ones first."""
        await self._queries.wait_for(position)
        return await self._lists.load(request)

    async def stop(self) -> None:
        for gathering in (self._checks, self._making, self._earlier, self._later, self._lists):
            await gathering.stop()

    async def _newest(self, request: PageRequest) -> _Newest:
        is_open, page, reached = await self._checks.load(request)
        if page is not None:
            metrics.FOUND.inc()
        elif is_open:
            metrics.MADE.inc()
            return await self._making.load(request)
        return page, reached

    async def _validate_cached(self, requests: Sequence[PageRequest]) -> list[_Checked]:
        conversation_states, snapshot = await self._queries.conversation_states(requests)
        results: list[_Checked] = [(False, None, snapshot.position)] * len(requests)
        lacking = await self._changes.conversations(snapshot)
        for state in conversation_states:
            page, turn = None, state.turn - 1
            if state.open and not _may_lack(snapshot, lacking, state.conversation_id, requests[turn]):
                edition = _edition(snapshot, state.erased)
                page = self.pages.get(edition, state.conversation_id, state.changed)
            results[turn] = (state.open, page, snapshot.position)
        return results

    async def _build_pages(self, requests: Sequence[PageRequest]) -> list[_Newest]:
        rows, snapshot = await self._queries.newest(requests, KEPT + 1)
        results: list[_Newest] = [(None, snapshot.position)] * len(requests)
        lacking = await self._changes.conversations(snapshot)
        for row in rows:
            if row.open:
                page = self._keep(requests[row.turn - 1], row, snapshot, lacking)
                results[row.turn - 1] = (page, snapshot.position)
        return results

    def _keep(self, user: PageRequest, row: NewestRow, snapshot: Snapshot, lacking: Lacking) -> NewestPage:
        if _may_lack(snapshot, lacking, row.conversation_id, user):
            return NewestPage(row)
        edition = _edition(snapshot, row.erased)
        page = NewestPage(row, edition)
        self.pages.put(edition, row.conversation_id, page)
        metrics.KEPT_BYTES.set(self.pages.bytes)
        return page

    async def _parts_of(self, requests: Sequence[RangeRequest], *, ascending: bool) -> list[_Read]:
        rows, reached = await self._queries.parts(requests, ascending=ascending)
        results: list[_Read] = [(None, reached)] * len(requests)
        for row in rows:
            if row.open:
                page = PageSlice(b"[%b]" % (row.items or b""), row.last or 0, row.more)
                results[row.turn - 1] = (page, reached)
        return results

    async def _lists_of(self, requests: Sequence[ListRequest]) -> list[_Listed]:
        rows, reached = await self._queries.lists(requests)
        results: list[_Listed] = [(ConversationsPage(), reached)] * len(requests)
        for row in rows:
            following = ""
            if row.more and row.activity_at is not None and row.peer_id is not None:
                following = encode_cursor(ConversationsCursor(row.activity_at, row.peer_id, bool(row.pinned)))
            if row.items is not None and row.conversation_ids is not None:
                page = ConversationsPage(row.items.split(SEPARATOR), row.conversation_ids.split(), following)
                results[row.turn - 1] = (page, reached)
        return results


def _edition(snapshot: Snapshot, erased: int) -> str:
    """Identifies the build and the erasures applied to it, which change rows without an event of their conversation."""
    return f"{snapshot.identity}.{erased}"


def _may_lack(snapshot: Snapshot, lacking: Lacking, conversation_id: str, request: PageRequest) -> bool:
    """Whether the conversation's rows may lack an event, which their last event does not show.

    `lacking`: the conversations that may lack changes of messages.
    """
    if snapshot.lacking is not None and not snapshot.lacking:
        return False
    return (
        lacking is None
        or conversation_id in lacking
        or snapshot.is_missing(
            conversation(conversation_id),
            read_mark(conversation_id, request.user_id),
            read_mark(conversation_id, request.peer_id),
        )
    )
