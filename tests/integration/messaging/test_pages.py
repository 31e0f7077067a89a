"""Cached pages equal the rows, whatever is written, applied late, rebuilt or rolled back meanwhile."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import pytest
from msgspec import UNSET, UnsetType
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import now
from contracts.errors import NotFriends
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved
from contracts.events.message import (
    FOREVER,
    ConversationUpdated,
    MessageDeleted,
    MessageEdited,
    MessageSeen,
    MessageSent,
    ReactionChanged,
    RepliedTo,
)
from contracts.messages import ConversationItem, LiveMessage, MessageItem, Quote, Reaction
from contracts.notification_kinds import muted_until
from contracts.positions import Position
from contracts.rpc.vestnik.messaging.v1 import ClientEvent
from contracts.subjects import CONTACT, MESSAGING
from contracts.values.cursors import decode_cursor
from contracts.values.ids import new_id, pair_id
from contracts.values.timestamps import rfc3339
from projections.conversations import Conversations
from projections.engine import ReadModel
from projections.engine.apply import event_handlers
from projections.engine.dead_letters import resolution
from projections.engine.rebuild.rebuild import rebuild
from projections.engine.storage.connections import connect
from services.gateway.live.fanout import fan_out, with_quote
from services.gateway.live.replay_buffer import ReplayBuffer
from services.messaging.backfill.backfill import backfill
from services.messaging.backfill.queries import BackfillQueries
from services.messaging.pages.newest_page_cache import PageSlice
from services.messaging.pages.page_reader import PageReader
from services.messaging.pages.queries import ListRequest, PageQueries, PageRequest
from services.messaging.queries import SEEN_AT, ConversationsCursor, MessageQueries
from streams.log import Log
from tests.fix_postgres import Pool
from tests.integration.projections.conftest import run, writer
from tests.integration.projections.event_writer import Opened, Writer
from tests.integration.projections.test_late_events import refusing

__all__ = ["run", "writer"]

ANNA, BEN, CARL = new_id(), new_id(), new_id()
PAIR = pair_id(ANNA, BEN)
START = Position()
# What JSON, the database and the program that joins items could each get wrong.
TEXTS = (
    'say "hi"',
    "back\\slash",
    "tab\tnew\nline\r",
    "\x01\x1f\x7f",
    "Привет \U0001f600 \u2028",
    "{[,]}",
    "'",
    "%s {x}",
)


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


class Both:
    """The two ways to a page: kept or made as JSON, and row by row."""

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
    found: list[dict[str, object]] = msgspec.json.decode(cut.items)
    return found


async def befriend(writer: Writer, one: str = ANNA, other: str = BEN) -> Position:
    subject = subjects.friendship(pair_id(one, other))
    asked = FriendshipCreated(requester_id=one, addressee_id=other)
    accepted = FriendshipAccepted(requester_id=one, addressee_id=other)
    return Position.at(CONTACT, await writer.append(subject, asked, accepted))


def message_id(sequence: int) -> str:
    return f"00000000-0000-7000-8000-{sequence:012}"


async def say(writer: Writer, sequence: int, text: str, *, sender: str = ANNA, reply_to: int | None = None) -> Position:
    quote = RepliedTo(message_id=message_id(reply_to), sequence=reply_to, sender_id=ANNA) if reply_to else None
    message = MessageSent(
        message_id=message_id(sequence),
        sender_id=sender,
        recipient_id=BEN if sender == ANNA else ANNA,
        sequence=sequence,
        text=text,
        client_message_id=str(sequence),
        reply_to=quote,
    )
    return Position.at(MESSAGING, await writer.append(subjects.conversation(PAIR), message))


async def edit(writer: Writer, sequence: int, text: str | None) -> Position:
    """Gives the message another text; deletes it if there is none."""
    message: dict[str, Any] = {
        "message_id": message_id(sequence),
        "conversation_id": PAIR,
        "sequence": sequence,
        "sender_id": ANNA,
        "sent_at": now(),
        "members": (ANNA, BEN),
    }
    event = MessageDeleted(**message) if text is None else MessageEdited(text=text, **message)
    return Position.at(MESSAGING, await writer.append(subjects.message(message_id(sequence)), event))


async def react(writer: Writer, sequence: int, emoji: str | None, *, user_id: str = BEN) -> Position:
    changed = ReactionChanged(
        message_id=message_id(sequence),
        conversation_id=PAIR,
        sequence=sequence,
        sender_id=ANNA,
        sent_at=now(),
        members=(ANNA, BEN),
        user_id=user_id,
        emoji=emoji,
    )
    return Position.at(MESSAGING, await writer.append(subjects.message(message_id(sequence)), changed))


async def mark(writer: Writer, sequence: int, *, reader: str = BEN) -> Position:
    peer = ANNA if reader == BEN else BEN
    seen = MessageSeen(conversation_id=PAIR, reader_id=reader, peer_id=peer, sequence=sequence)
    return Position.at(MESSAGING, await writer.append(subjects.read_mark(PAIR, reader), seen))


async def both(run: Opened, pool: Pool) -> Both:
    runners = await run(Conversations)
    return Both(ReadModel(Conversations, pool, runners.waiting))


@pytest.mark.parametrize("seed", [1, 2])
async def test_kept_pages_equal_the_rows_while_others_write_and_builds_change(
    seed: int, writer: Writer, run: Opened, pool: Pool, streams: Client, database_url: str
) -> None:
    found, chance = await both(run, pool), random.Random(seed)
    position = await befriend(writer)
    written, marked, deleted = 0, {ANNA: 0, BEN: 0}, set[int]()
    done = asyncio.Event()

    async def write() -> None:
        nonlocal written, position
        for _ in range(130):
            target = chance.randint(1, written) if written else 0
            if target and target not in deleted and chance.random() < 0.25:
                changed = chance.choice((*TEXTS, None))
                deleted.update(() if changed is not None else {target})
                position = position.merge(await edit(writer, target, changed))
            elif target and target not in deleted and chance.random() < 0.3:
                user_id = chance.choice((ANNA, BEN))
                emoji = chance.choice(("👍", "❤️", None))
                position = position.merge(await react(writer, target, emoji, user_id=user_id))
            elif written and chance.random() < 0.4:
                reader = chance.choice((ANNA, BEN))
                marked[reader] = chance.randint(min(marked[reader] + 1, written), written)
                position = position.merge(await mark(writer, marked[reader], reader=reader))
            else:
                sender, text = chance.choice((ANNA, BEN)), chance.choice(TEXTS)
                reply_to = chance.randint(1, written) if written and chance.random() < 0.4 else None
                position = position.merge(await say(writer, written + 1, text, sender=sender, reply_to=reply_to))
                written += 1
            # One's own write is there at once.
            await found.agree(position, chance.choice((1, 3, 50)))
        done.set()

    async def read() -> None:
        ours, last = random.Random(seed), 0
        while not done.is_set():
            reached = await found.agree(START, ours.choice((1, 2, 20, 50)))
            assert reached.sequence(MESSAGING) >= last
            last = reached.sequence(MESSAGING)

    async def rebuild_and_go_back() -> None:
        for back in (False, True, False):
            await rebuild(Conversations, streams, database_url, back=back)

    await found.agree(position, 50)
    await asyncio.gather(write(), read(), read(), rebuild_and_go_back())
    for limit in (1, 50, 51, 200):
        for before, after in ((None, None), (written // 2, None), (None, 0), (None, written), (1, None)):
            await found.agree(position, limit, before=before, after=after)
    await found.pages.stop()


async def test_a_page_that_is_kept_costs_no_look_at_the_messages(writer: Writer, run: Opened, pool: Pool) -> None:
    found = await both(run, pool)
    position = (await befriend(writer)).merge(await say(writer, 1, "hello"))
    await found.agree(position, 50)
    # Rows are never changed by hand; here it shows whether they were read.
    async with pool.connection() as conn:
        await conn.execute(f"UPDATE {Conversations.view('messages')}_b1 SET text = 'changed'")
    items = await items_of(found.pages, PageRequest(BEN, ANNA), START, 50)
    assert [item["text"] for item in items] == ["hello"]
    items = await items_of(found.pages, PageRequest(BEN, ANNA), await say(writer, 2, "news"), 50)
    assert [item["text"] for item in items] == ["news", "changed"]


async def test_a_version_that_is_known_is_not_sent_again_until_something_happens(
    writer: Writer, run: Opened, pool: Pool
) -> None:
    found = await both(run, pool)
    position = (await befriend(writer)).merge(await say(writer, 1, "hello"))
    first, _ = await found.pages.messages(PageRequest(ANNA, BEN), position, before=None, after=None, limit=50)
    assert first is not None
    assert first.version

    async def again(asked: PageRequest, since: Position) -> PageSlice | None:
        return (await found.pages.messages(asked, since, before=None, after=None, limit=50, known=first.version))[0]

    assert await again(PageRequest(ANNA, BEN), position) is None
    assert await again(PageRequest(BEN, ANNA), position) is None
    with pytest.raises(NotFriends):
        await again(PageRequest(new_id(), BEN), position)
    changed = await again(PageRequest(BEN, ANNA), await mark(writer, 1))
    assert changed is not None
    assert changed.version != first.version


async def test_a_page_of_the_build_before_is_not_shown(
    writer: Writer, run: Opened, pool: Pool, streams: Client, database_url: str
) -> None:
    found = await both(run, pool)
    position = (await befriend(writer)).merge(await say(writer, 1, "true"))
    await found.queries.wait_for(position)
    async with pool.connection() as conn:
        await conn.execute(f"UPDATE {Conversations.view('messages')}_b1 SET text = 'false'")
    texts = []
    for back in (None, False, True):
        if back is not None:
            await rebuild(Conversations, streams, database_url, back=back)
        texts += [item["text"] for item in await items_of(found.pages, PageRequest(ANNA, BEN), START, 1)]
    assert texts == ["false", "true", "false"]


@pytest.mark.parametrize(
    "late_event",
    [mark, partial(react, emoji="👍"), partial(edit, text="b"), partial(edit, text=None)],
    ids=["mark", "reaction", "edit", "deletion"],
)
async def test_what_is_applied_late_is_there_at_once_and_no_page_without_it_is_kept(
    writer: Writer,
    run: Opened,
    pool: Pool,
    streams: Client,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    late_event: Callable[[Writer, int], Awaitable[Position]],
) -> None:
    position = (await befriend(writer)).merge(await say(writer, 1, "hello"))
    position = position.merge(await befriend(writer, other=CARL)).merge(await say(writer, 2, "there"))
    late = await late_event(writer, 1)
    # A later event of another aggregate: the late one leaves no trace in the conversation's last.
    position = position.merge(await say(writer, 3, "you", sender=BEN))
    monkeypatch.setattr(event_handlers, "open_event", refusing({(MESSAGING, late.sequence(MESSAGING))}))
    found = await both(run, pool)
    await found.agree(position, 50)
    cut, _ = await found.pages.messages(PageRequest(ANNA, BEN), position, before=None, after=None, limit=50)
    assert cut is not None
    assert cut.version == ""
    assert len(found.pages.pages) == 0
    # Another conversation lacks nothing.
    for _ in range(2):
        elsewhere, _ = await found.pages.messages(PageRequest(ANNA, CARL), position, before=None, after=None, limit=50)
        assert elsewhere is not None
        assert elsewhere.version
    assert len(found.pages.pages) == 1
    monkeypatch.undo()
    conn = await connect(database_url, "operator")
    try:
        for letter in await resolution.first_failures(conn, Conversations):
            assert (await resolution.retry(conn, Log(streams), Conversations, letter)).outcome == "applied"
    finally:
        await conn.close()
    await found.agree(position, 50)
    assert len(found.pages.pages) == 2


async def test_a_message_that_is_applied_after_its_changes_is_shown_as_they_left_it(
    writer: Writer,
    run: Opened,
    pool: Pool,
    streams: Client,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    position = (await befriend(writer)).merge(await say(writer, 1, "hello"))
    late = {(MESSAGING, (await say(writer, sequence, "a secret")).sequence(MESSAGING)) for sequence in (2, 3)}
    position = position.merge(await react(writer, 2, "👍")).merge(await react(writer, 3, "👍"))
    position = position.merge(await edit(writer, 3, None))
    monkeypatch.setattr(event_handlers, "open_event", refusing(late))
    found = await both(run, pool)
    items = await items_of(found.pages, PageRequest(BEN, ANNA), position, 50)
    assert [(item["sequence"], item.get("deleted")) for item in items] == [(3, True), (1, None)]
    for limit in (1, 2, 50):
        for before, after in ((None, None), (4, None), (None, 0), (None, 1)):
            await found.agree(position, limit, before=before, after=after)
    monkeypatch.undo()
    conn = await connect(database_url, "operator")
    try:
        while letters := await resolution.first_failures(conn, Conversations):
            for letter in letters:
                assert (await resolution.retry(conn, Log(streams), Conversations, letter)).outcome == "applied"
    finally:
        await conn.close()
    await found.agree(position, 50)
    items = await items_of(found.pages, PageRequest(BEN, ANNA), position, 50)
    shown = [(item["text"], "reactions" in item) for item in items]
    assert shown == [("", False), ("a secret", True), ("hello", False)]


async def test_access_ends_with_the_friendship_and_comes_back_with_it(writer: Writer, run: Opened, pool: Pool) -> None:
    found = await both(run, pool)
    await found.agree((await befriend(writer)).merge(await say(writer, 1, "hello")), 50)
    subject = subjects.friendship(PAIR)
    removed = Position.at(CONTACT, await writer.append(subject, FriendshipRemoved(remover_id=BEN, other_id=ANNA)))
    for asked, limit in (
        (PageRequest(ANNA, BEN), 50),
        (PageRequest(BEN, ANNA), 200),
        (PageRequest(ANNA, new_id()), 50),
    ):
        with pytest.raises(NotFriends):
            await found.pages.messages(asked, removed, before=None, after=None, limit=limit)
    await found.agree(await befriend(writer), 50)


async def test_many_who_ask_at_once_each_get_their_own(writer: Writer, run: Opened, pool: Pool) -> None:
    found = await both(run, pool)
    position = await befriend(writer)
    for sequence, text in enumerate(TEXTS, start=1):
        position = position.merge(await say(writer, sequence, text, sender=(ANNA, BEN)[sequence % 2]))
    strangers = [PageRequest(new_id(), BEN) for _ in range(30)]

    async def ask(asked: PageRequest, limit: int) -> int:
        try:
            return len(await items_of(found.pages, asked, position, limit))
        except NotFriends:
            return -1

    asked = [(each, 50) for each in strangers] + [(PageRequest(ANNA, BEN), limit) for limit in range(1, 51)]
    random.Random(3).shuffle(asked)
    counts = await asyncio.gather(*(ask(each, limit) for each, limit in asked))
    assert counts == [-1 if each in strangers else min(limit, len(TEXTS)) for each, limit in asked]


async def test_the_list_of_conversations_is_what_the_rows_say(writer: Writer, run: Opened, pool: Pool) -> None:
    found = await both(run, pool)
    position = await befriend(writer)
    for sequence, text in enumerate(TEXTS, start=1):
        position = position.merge(await say(writer, sequence, text, sender=(ANNA, BEN)[sequence % 2]))
    position = position.merge(await mark(writer, 3))
    muted = (None, FOREVER, datetime(2020, 1, 1, tzinfo=UTC), datetime(2999, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC))
    for number, until in enumerate(muted):
        other = new_id()
        position = position.merge(await befriend(writer, ANNA, other))
        settings = ConversationUpdated(
            conversation_id=pair_id(ANNA, other),
            user_id=ANNA,
            members=(ANNA, other),
            muted_until=until,
            pinned=number < 3,
            archived=number == 2,
        )
        written = await writer.append(subjects.settings(pair_id(ANNA, other), ANNA), settings)
        position = position.merge(Position.at(MESSAGING, written))
    await found.queries.wait_for(position)
    expected = [msgspec.json.encode(item) for item in await found.rows.conversations(ANNA)]
    assert len(expected) == 5
    assert [b'"pinned":true' in item for item in expected] == [True, True, True, False, False]
    for limit in (1, 2, 3, 4, 5, 50):
        after: ConversationsCursor | None = None
        read: list[bytes] = []
        while True:
            listed, _ = await found.pages.conversations(ListRequest(ANNA, limit, after), position)
            page = expected[len(read) : len(read) + limit]
            assert listed.array({}) == b"[%b]" % b",".join(page)
            drafts = dict.fromkeys(listed.conversation_ids[1:], TEXTS[0])
            assert [
                msgspec.structs.replace(item, draft=UNSET) if item.draft == TEXTS[0] else item
                for item in msgspec.json.decode(listed.array(drafts), type=list[ConversationItem])
            ] == [msgspec.json.decode(item, type=ConversationItem) for item in page]
            assert listed.array(drafts).count(b'"draft"') == len(drafts)
            read += page
            assert bool(listed.next) == (len(read) < len(expected))
            if not listed.next:
                break
            after = decode_cursor(listed.next, ConversationsCursor)
    for archived in (True, False):
        listed, _ = await found.pages.conversations(ListRequest(ANNA, 50, None, archived), position)
        shown = b'"archived":true' if archived else b'"archived":false'
        assert listed.array({}) == b"[%b]" % b",".join(item for item in expected if shown in item)
    listed, _ = await found.pages.conversations(ListRequest(new_id(), 50, None), position)
    assert (listed.array({}), listed.next) == (b"[]", "")


async def test_a_missed_message_has_the_bytes_that_it_had_live(
    writer: Writer, run: Opened, pool: Pool, streams: Client
) -> None:
    found = await both(run, pool)
    position = await befriend(writer)
    for sequence, text in enumerate(TEXTS, start=1):
        reply_to = sequence - 1 if sequence % 4 == 3 else None
        said = await say(writer, sequence, text, sender=(ANNA, BEN)[sequence % 2], reply_to=reply_to)
        position = position.merge(said)
    await found.queries.wait_for(position)
    recent = ReplayBuffer()
    for message in await Log(streams).read(subjects.conversation(PAIR)):
        event = next(fan_out(message.open()))
        quoted = recent.text_of(event.quoted.message_id) if event.quoted is not None else None
        recent.add(event if quoted is None else with_quote(event, quoted))
    live = recent.since(0)
    assert len(live) == len(TEXTS)
    for user_id in (ANNA, BEN):
        missed = await found.missed.messages(user_id, 0, 100, 1_000_000)
        assert [(row.stream_sequence, row.data.encode()) for row in missed] == [
            (event.sequence, event.payload_by_user[user_id]) for event in live
        ]
        decoded = [msgspec.json.decode(row.data, type=LiveMessage) for row in missed]
        assert [message.text for message in decoded] == list(TEXTS)
        assert [row.text_size for row in missed] == [len(text.encode()) for text in TEXTS]


async def test_a_missed_change_is_sent_as_the_last_one_was_live(
    writer: Writer, run: Opened, pool: Pool, streams: Client
) -> None:
    found = await both(run, pool)
    position = await befriend(writer)
    for sequence in (1, 2, 3):
        position = position.merge(await say(writer, sequence, "first"))
    begin = position.sequence(MESSAGING)
    for sequence, changed in ((1, "a"), (2, TEXTS[0]), (3, None), (1, TEXTS[1])):
        position = await edit(writer, sequence, changed)
    await found.queries.wait_for(position)
    log = Log(streams)
    sent_at = [rfc3339(message.envelope().at) for message in await log.read(subjects.conversation(PAIR))]
    live = {
        event.sequence: event
        for sequence in (1, 2, 3)
        for message in await log.read(subjects.message(message_id(sequence)))
        for event in fan_out(message.open())
    }
    for user_id in (ANNA, BEN):
        missed = await found.missed.messages(user_id, begin, 100, 1_000_000)
        assert [row.stream_sequence - begin for row in missed] == [2, 3, 4]
        for row, at in zip(missed, (sent_at[1], sent_at[2], sent_at[0]), strict=True):
            event = live[row.stream_sequence]
            # The events of this test say that the message was sent just now.
            shown = msgspec.structs.replace(
                msgspec.json.decode(event.payload_by_user[user_id], type=LiveMessage), sent_at=at
            )
            assert (row.type, row.data.encode()) == (event.type, msgspec.json.encode(shown))


async def test_missed_reactions_come_in_order_with_the_bytes_that_they_had_live(
    writer: Writer, run: Opened, pool: Pool, streams: Client
) -> None:
    found = await both(run, pool)
    position = (await befriend(writer)).merge(await say(writer, 1, "hello"))
    # Only the latest of each user to a message is sent; a removed one too.
    for emoji, user_id in (("👍", BEN), ("👍", ANNA), ("❤️", BEN), (None, ANNA)):
        position = position.merge(await react(writer, 1, emoji, user_id=user_id))
    position = position.merge(await say(writer, 2, "there")).merge(await mark(writer, 2))
    position = position.merge(await react(writer, 2, "👍"))
    await found.queries.wait_for(position)
    reactions = [
        next(fan_out(message.open()))
        for sequence in (1, 2)
        for message in await Log(streams).read(subjects.message(message_id(sequence)))
    ]
    for user_id in (ANNA, BEN):
        missed = [event async for event in backfill(found.missed, user_id, 0)]
        kinds = ["message.sent", "reaction.changed", "reaction.changed"]
        assert [event.type for event in missed] == [*kinds, "message.sent", "message.seen", "reaction.changed"]
        assert [event.sequence for event in missed] == sorted(event.sequence for event in missed)
        assert [(event.sequence, event.data) for event in missed if event.type == "reaction.changed"] == [
            (event.sequence, event.payload_by_user[user_id]) for event in reactions[2:]
        ]
        # In parts, each from the last event of the one before.
        parts, after = list[ClientEvent](), 0
        while part := [event async for event in backfill(found.missed, user_id, after, limit=2)]:
            parts, after = [*parts, *part], part[-1].sequence
        assert parts == missed
