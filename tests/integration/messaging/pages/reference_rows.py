"""The reference for pages: messages and conversations read row by row, and compared with the page reader's."""

from datetime import UTC, datetime

import msgspec
from msgspec import UNSET, UnsetType

from contracts.messages import ConversationItem, MessageItem, Quote, Reaction
from contracts.notification_kinds import muted_until
from contracts.positions import Position
from contracts.values.timestamps import rfc3339
from projections.conversations import Conversations
from projections.engine import ReadModel
from services.messaging.backfill.queries import BackfillQueries
from services.messaging.pages.newest_page_cache import PageSlice
from services.messaging.pages.page_reader import PageReader
from services.messaging.pages.queries import PageQueries, PageRequest
from services.messaging.queries import SEEN_AT, MessageQueries
from tests.fix_postgres import Pool
from tests.integration.messaging.pages.conversation_events import ANNA, BEN
from tests.integration.projections.event_writer import PATIENCE, Opened

# Of a message `m`: the message that it answers, `q`, and who reacts, in the order of their reactions.
_OF_OTHER_ROWS = """
    q.message_id AS quoted_id, q.sequence AS quoted_sequence, q.sender_id AS quoted_sender, q.text AS quoted_text,
    q.deleted AS quoted_deleted,
    ARRAY(SELECT r.user_id::text || ' ' || r.emoji FROM {reactions} AS r
          WHERE r.conversation_id = m.conversation_id AND r.sequence = m.sequence AND r.emoji IS NOT NULL
          ORDER BY r.stream_sequence) AS reactions
"""


class Rows:
    """The reference for pages, byte for byte: messages and conversations read row by row and encoded here."""

    def __init__(self, model: ReadModel) -> None:
        self._model = model

    async def messages(
        self, *, before: int | None, after: int | None, limit: int
    ) -> tuple[list[MessageItem], bool, Position]:
        which, order = ("m.sequence < %(bound)s", "DESC") if after is None else ("m.sequence > %(bound)s", "ASC")
        bound = after if after is not None else before
        rows, reached = await self._model.select(
            _MessageRow,
            f"""
            SELECT m.*, {SEEN_AT} AS seen_at, {_OF_OTHER_ROWS}
            FROM {{conversations}} AS c JOIN {{messages}} AS m USING (conversation_id)
            LEFT JOIN {{messages}} AS q ON (q.conversation_id, q.sequence) = (m.conversation_id, m.reply_to_sequence)
            WHERE c.user_id = %(user_id)s AND c.peer_id = %(peer_id)s AND c.open AND {which}
              AND m.message_id IS NOT NULL
            ORDER BY m.sequence {order} LIMIT %(limit)s
            """,
            {"user_id": ANNA, "peer_id": BEN, "bound": 2**62 if bound is None else bound, "limit": limit + 1},
        )
        return [row.item() for row in rows[:limit]], len(rows) > limit, reached

    async def conversations(self, user_id: str) -> list[ConversationItem]:
        """All of the user's open conversations, pinned ones first, then by latest activity."""
        rows, _ = await self._model.select(
            _ConversationRow,
            f"""
            SELECT c.peer_id, c.conversation_id, c.last_sequence, c.seen_sequence, c.peer_seen_sequence,
                   c.muted_until, c.pinned, c.archived, m.message_id, m.sequence, m.sender_id, m.text, m.sent_at,
                   m.edited_at, m.deleted, {SEEN_AT} AS seen_at, {_OF_OTHER_ROWS}
            FROM {{conversations}} AS c
            LEFT JOIN {{messages}} AS m ON m.conversation_id = c.conversation_id AND m.sequence = c.last_sequence
            LEFT JOIN {{messages}} AS q ON (q.conversation_id, q.sequence) = (m.conversation_id, m.reply_to_sequence)
            WHERE c.user_id = %(user_id)s AND c.open
            ORDER BY c.pinned DESC, c.activity_at DESC, c.peer_id DESC
            """,
            {"user_id": user_id},
        )
        return [row.conversation() for row in rows]


class _MessageRow(msgspec.Struct, frozen=True):
    message_id: str | None
    sequence: int | None
    sender_id: str | None
    text: str | None
    sent_at: datetime | None
    edited_at: datetime | None
    deleted: bool | None
    seen_at: datetime | None
    quoted_id: str | None
    quoted_sequence: int | None
    quoted_sender: str | None
    quoted_text: str | None
    quoted_deleted: bool | None
    reactions: list[str]

    def item(self) -> MessageItem:
        assert self.message_id is not None
        assert self.sequence is not None
        assert self.sender_id is not None
        assert self.text is not None
        assert self.sent_at is not None
        return MessageItem(
            message_id=self.message_id,
            sequence=self.sequence,
            sender_id=self.sender_id,
            text=self.text,
            sent_at=rfc3339(self.sent_at),
            edited_at=UNSET if self.edited_at is None else rfc3339(self.edited_at),
            deleted=self.deleted or UNSET,
            reply_to=self.quote(),
            reactions=self.grouped() or UNSET,
            seen_at=UNSET if self.seen_at is None else rfc3339(self.seen_at),
        )

    def quote(self) -> Quote | UnsetType:
        if self.quoted_id is None:
            return UNSET
        assert self.quoted_sequence is not None
        assert self.quoted_sender is not None
        assert self.quoted_text is not None
        return Quote(
            message_id=self.quoted_id,
            sequence=self.quoted_sequence,
            sender_id=self.quoted_sender,
            text=self.quoted_text,
            deleted=self.quoted_deleted or UNSET,
        )

    def grouped(self) -> list[Reaction]:
        users: dict[str, list[str]] = {}
        if self.deleted:
            return []
        for reaction in self.reactions:
            user_id, emoji = reaction.split(" ")
            users.setdefault(emoji, []).append(user_id)
        return [Reaction(emoji, user_ids) for emoji, user_ids in users.items()]


class _ConversationRow(_MessageRow, frozen=True):
    peer_id: str
    conversation_id: str
    last_sequence: int
    seen_sequence: int
    peer_seen_sequence: int
    muted_until: datetime | None
    pinned: bool
    archived: bool

    def conversation(self) -> ConversationItem:
        return ConversationItem(
            user_id=self.peer_id,
            conversation_id=self.conversation_id,
            last_message=None if self.message_id is None else self.item(),
            unread_count=self.last_sequence - self.seen_sequence,
            seen_sequence=self.seen_sequence,
            peer_seen_sequence=self.peer_seen_sequence,
            muted_until=muted_until(self.muted_until, datetime.now(UTC)),
            pinned=self.pinned,
            archived=self.archived,
        )


class PatientModel(ReadModel):
    """Waits for a position as long as a slow machine needs to apply it."""

    async def wait_for(self, position: Position, timeout: float = PATIENCE) -> None:
        await super().wait_for(position, timeout)


class PageComparison:
    """Reads a page in both ways, kept or made as JSON and row by row, and compares the results."""

    def __init__(self, model: ReadModel) -> None:
        self.rows, self.pages, self.queries = Rows(model), PageReader(PageQueries(model)), MessageQueries(model)
        self.missed = BackfillQueries(model)
        self._versions: dict[tuple[str, int], PageSlice] = {}

    async def agree(
        self, position: Position, limit: int, *, before: int | None = None, after: int | None = None
    ) -> Position:
        """Reads both ways until no event came in between; returns the equal result."""
        while True:
            cut, reached = await self.pages.messages(
                PageRequest(ANNA, BEN), position, before=before, after=after, limit=limit
            )
            rows, more, then = await self.rows.messages(before=before, after=after, limit=limit)
            if reached == then:
                break
        assert cut is not None
        assert cut.items == msgspec.json.encode(rows)
        self.check_version(cut, limit)
        assert (cut.more, cut.last) == (more, rows[-1].sequence if rows else 0)
        return reached

    def check_version(self, cut: PageSlice, limit: int) -> None:
        """A version names one page permanently, so that a page may be cached by its version."""
        if cut.version:
            assert self._versions.setdefault((cut.version, limit), cut) == cut


async def items_of(pages: PageReader, asked: PageRequest, position: Position, limit: int) -> list[dict[str, object]]:
    cut, _ = await pages.messages(asked, position, before=None, after=None, limit=limit)
    assert cut is not None
    items: list[dict[str, object]] = msgspec.json.decode(cut.items)
    return items


async def page_comparison(run: Opened, pool: Pool) -> PageComparison:
    runners = await run(Conversations)
    return PageComparison(PatientModel(Conversations, pool, runners.waiting))
