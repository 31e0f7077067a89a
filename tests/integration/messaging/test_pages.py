"""Pages that are kept are what the rows say, whatever is written, applied late, rebuilt or taken back meanwhile."""

import asyncio
import random

import msgspec
import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.errors import NotFriends
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved
from contracts.events.message import MessageSeen, MessageSent
from contracts.positions import Position
from contracts.subjects import CONTACT, MESSAGING
from contracts.values.ids import new_id, pair_id
from contracts.values.timestamps import rfc3339
from projections.conversations import Conversations
from projections.engine import ReadModel
from projections.engine.apply import build_writer
from projections.engine.dead_letters import resolution
from projections.engine.rebuild.rebuild import rebuild
from projections.engine.storage.connections import connect
from services.messaging.pages.newest_page_cache import PageSlice
from services.messaging.pages.page_reader import PageReader
from services.messaging.pages.queries import ListRequest, PageQueries, PageRequest
from services.messaging.queries import ConversationsCursor, MessageQueries, MessageRow
from streams.log import Log
from tests.fix_postgres import Pool
from tests.integration.projections.conftest import run, writer
from tests.integration.projections.event_writer import Opened, Writer
from tests.integration.projections.test_late_events import refusing

__all__ = ["run", "writer"]

ANNA, BEN = new_id(), new_id()
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


class Both:
    """The two ways to a page: kept or made as JSON, and row by row."""

    def __init__(self, model: ReadModel) -> None:
        self.rows, self.pages = MessageQueries(model), PageReader(PageQueries(model))
        self._versions: dict[tuple[str, int], PageSlice] = {}

    async def agree(
        self, position: Position, limit: int, *, before: int | None = None, after: int | None = None
    ) -> Position:
        """Reads both ways until no event came in between; they say the same."""
        while True:
            cut, reached = await self.pages.messages(
                PageRequest(ANNA, BEN), position, before=before, after=after, limit=limit
            )
            rows, more, then = await self.rows.messages(ANNA, BEN, START, before=before, after=after, limit=limit)
            if reached == then:
                break
        assert cut is not None
        assert msgspec.json.decode(cut.items) == [shown(row) for row in rows]
        self.check_version(cut, limit)
        assert (cut.more, cut.last) == (more, rows[-1].sequence if rows else 0)
        return reached

    def check_version(self, cut: PageSlice, limit: int) -> None:
        """A version names one page for ever: whoever keeps it by its version is right."""
        if cut.version:
            assert self._versions.setdefault((cut.version, limit), cut) == cut


async def items_of(pages: PageReader, asked: PageRequest, position: Position, limit: int) -> list[dict[str, object]]:
    cut, _ = await pages.messages(asked, position, before=None, after=None, limit=limit)
    assert cut is not None
    found: list[dict[str, object]] = msgspec.json.decode(cut.items)
    return found


def shown(row: MessageRow) -> dict[str, object]:
    found: dict[str, object] = {
        "message_id": row.message_id,
        "sequence": row.sequence,
        "sender_id": row.sender_id,
        "text": row.text,
        "sent_at": rfc3339(row.sent_at),
    }
    return found | ({"seen_at": rfc3339(row.seen_at)} if row.seen_at else {})


async def befriend(writer: Writer, one: str = ANNA, other: str = BEN) -> Position:
    subject = subjects.friendship(pair_id(one, other))
    asked = FriendshipCreated(requester_id=one, addressee_id=other)
    accepted = FriendshipAccepted(requester_id=one, addressee_id=other)
    return Position.at(CONTACT, await writer.append(subject, asked, accepted))


async def say(writer: Writer, sequence: int, text: str, *, sender: str = ANNA) -> Position:
    message = MessageSent(
        message_id=new_id(),
        sender_id=sender,
        recipient_id=BEN if sender == ANNA else ANNA,
        sequence=sequence,
        text=text,
        client_message_id=str(sequence),
    )
    return Position.at(MESSAGING, await writer.append(subjects.conversation(PAIR), message))


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
    written, marked = 0, {ANNA: 0, BEN: 0}
    done = asyncio.Event()

    async def write() -> None:
        nonlocal written, position
        for _ in range(100):
            if written and chance.random() < 0.4:
                reader = chance.choice((ANNA, BEN))
                marked[reader] = chance.randint(min(marked[reader] + 1, written), written)
                position = position.merge(await mark(writer, marked[reader], reader=reader))
            else:
                sender, text = chance.choice((ANNA, BEN)), chance.choice(TEXTS)
                position = position.merge(await say(writer, written + 1, text, sender=sender))
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
    await found.rows.wait_for(position)
    async with pool.connection() as conn:
        await conn.execute(f"UPDATE {Conversations.view('messages')}_b1 SET text = 'false'")
    texts = []
    for back in (None, False, True):
        if back is not None:
            await rebuild(Conversations, streams, database_url, back=back)
        texts += [item["text"] for item in await items_of(found.pages, PageRequest(ANNA, BEN), START, 1)]
    assert texts == ["false", "true", "false"]


async def test_what_is_applied_late_is_there_at_once_and_no_page_without_it_is_kept(
    writer: Writer,
    run: Opened,
    pool: Pool,
    streams: Client,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    position = (await befriend(writer)).merge(await say(writer, 1, "hello"))
    position = position.merge(await say(writer, 2, "there"))
    late = await mark(writer, 1)
    # A later event of another aggregate: the late one leaves no trace in the conversation's last.
    position = position.merge(await say(writer, 3, "you", sender=BEN))
    monkeypatch.setattr(build_writer, "open_event", refusing({(MESSAGING, late.sequence(MESSAGING))}))
    found = await both(run, pool)
    await found.agree(position, 50)
    cut, _ = await found.pages.messages(PageRequest(ANNA, BEN), position, before=None, after=None, limit=50)
    assert cut is not None
    assert cut.version == ""
    assert len(found.pages.pages) == 0
    monkeypatch.undo()
    conn = await connect(database_url, "operator")
    try:
        for letter in await resolution.first_failures(conn, Conversations):
            assert (await resolution.retry(conn, Log(streams), Conversations, letter)).outcome == "applied"
    finally:
        await conn.close()
    await found.agree(position, 50)
    assert len(found.pages.pages) == 1


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
    for other in (new_id(), new_id(), new_id()):
        position = position.merge(await befriend(writer, ANNA, other))
    for limit in (1, 2, 3, 4, 50):
        after: ConversationsCursor | None = None
        while True:
            items, cursor, _ = await found.pages.conversations(ListRequest(ANNA, limit, after), position)
            rows, following, _ = await found.rows.conversations(ANNA, position, limit=limit, after=after)
            shown_items = msgspec.json.decode(items)
            assert [(each["user_id"], each["conversation_id"]) for each in shown_items] == [
                (row.peer_id, row.conversation_id) for row in rows
            ]
            for each, row in zip(shown_items, rows, strict=True):
                assert each["unread_count"] == row.last_sequence - row.seen_sequence
                assert (each["seen_sequence"], each["peer_seen_sequence"]) == (
                    row.seen_sequence,
                    row.peer_seen_sequence,
                )
                assert (each["last_message"] is None) == (row.message_id is None)
                if row.message_id and row.sender_id and row.text is not None and row.sent_at:
                    assert each["last_message"] == shown(
                        MessageRow(
                            row.conversation_id,
                            row.last_sequence,
                            row.message_id,
                            row.sender_id,
                            row.text,
                            row.sent_at,
                            row.seen_at,
                        )
                    )
            assert bool(cursor) == (following is not None)
            if following is None:
                break
            after = following
    assert (await found.pages.conversations(ListRequest(new_id(), 50, None), position))[:2] == (b"[]", "")
