"""Kept pages equal the rows while others write, and after a rebuild, a version or the end of a friendship."""

import asyncio
import random

import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.errors import NotFriends
from contracts.events.friendship import FriendshipRemoved
from contracts.positions import Position
from contracts.subjects import CONTACT, MESSAGING
from contracts.values.ids import new_id
from projections.conversations import Conversations
from projections.engine.rebuild.rebuild import rebuild
from services.messaging.pages.newest_page_cache import PageSlice
from services.messaging.pages.queries import PageRequest
from tests.fix_postgres import Pool
from tests.integration.messaging.pages.conversation_events import (
    ANNA,
    BEN,
    PAIR,
    TEXTS,
    befriend,
    edit,
    mark,
    react,
    say,
)
from tests.integration.messaging.pages.reference_rows import items_of, page_comparison
from tests.integration.projections.event_writer import Opened, Writer

START = Position()


@pytest.mark.parametrize("seed", [1, 2])
async def test_kept_pages_equal_the_rows_while_others_write_and_builds_change(
    seed: int, writer: Writer, run: Opened, pool: Pool, streams: Client, database_url: str
) -> None:
    comparison, chance = await page_comparison(run, pool), random.Random(seed)
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
            await comparison.agree(position, chance.choice((1, 3, 50)))
        done.set()

    async def read() -> None:
        ours, last = random.Random(seed), 0
        while not done.is_set():
            reached = await comparison.agree(START, ours.choice((1, 2, 20, 50)))
            assert reached.sequence(MESSAGING) >= last
            last = reached.sequence(MESSAGING)

    async def rebuild_and_go_back() -> None:
        for back in (False, True, False):
            await rebuild(Conversations, streams, database_url, back=back)

    await comparison.agree(position, 50)
    await asyncio.gather(write(), read(), read(), rebuild_and_go_back())
    for limit in (1, 50, 51, 200):
        for before, after in ((None, None), (written // 2, None), (None, 0), (None, written), (1, None)):
            await comparison.agree(position, limit, before=before, after=after)
    await comparison.pages.stop()


async def test_a_page_that_is_kept_costs_no_look_at_the_messages(writer: Writer, run: Opened, pool: Pool) -> None:
    comparison = await page_comparison(run, pool)
    position = (await befriend(writer)).merge(await say(writer, 1, "hello"))
    await comparison.agree(position, 50)
    # Rows are never changed by hand; here it shows whether they were read.
    async with pool.connection() as conn:
        await conn.execute(f"UPDATE {Conversations.view('messages')}_b1 SET text = 'changed'")
    items = await items_of(comparison.pages, PageRequest(BEN, ANNA), START, 50)
    assert [item["text"] for item in items] == ["hello"]
    items = await items_of(comparison.pages, PageRequest(BEN, ANNA), await say(writer, 2, "news"), 50)
    assert [item["text"] for item in items] == ["news", "changed"]


async def test_a_version_that_is_known_is_not_sent_again_until_something_happens(
    writer: Writer, run: Opened, pool: Pool
) -> None:
    comparison = await page_comparison(run, pool)
    position = (await befriend(writer)).merge(await say(writer, 1, "hello"))
    first, _ = await comparison.pages.messages(PageRequest(ANNA, BEN), position, before=None, after=None, limit=50)
    assert first is not None
    assert first.version

    async def again(asked: PageRequest, since: Position) -> PageSlice | None:
        return (await comparison.pages.messages(asked, since, before=None, after=None, limit=50, known=first.version))[
            0
        ]

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
    comparison = await page_comparison(run, pool)
    position = (await befriend(writer)).merge(await say(writer, 1, "true"))
    await comparison.queries.wait_for(position)
    async with pool.connection() as conn:
        await conn.execute(f"UPDATE {Conversations.view('messages')}_b1 SET text = 'false'")
    texts = []
    for back in (None, False, True):
        if back is not None:
            await rebuild(Conversations, streams, database_url, back=back)
        texts += [item["text"] for item in await items_of(comparison.pages, PageRequest(ANNA, BEN), START, 1)]
    assert texts == ["false", "true", "false"]


async def test_access_ends_with_the_friendship_and_comes_back_with_it(writer: Writer, run: Opened, pool: Pool) -> None:
    comparison = await page_comparison(run, pool)
    await comparison.agree((await befriend(writer)).merge(await say(writer, 1, "hello")), 50)
    subject = subjects.friendship(PAIR)
    removed = Position.at(CONTACT, await writer.append(subject, FriendshipRemoved(remover_id=BEN, other_id=ANNA)))
    for asked, limit in (
        (PageRequest(ANNA, BEN), 50),
        (PageRequest(BEN, ANNA), 200),
        (PageRequest(ANNA, new_id()), 50),
    ):
        with pytest.raises(NotFriends):
            await comparison.pages.messages(asked, removed, before=None, after=None, limit=limit)
    await comparison.agree(await befriend(writer), 50)


async def test_many_who_ask_at_once_each_get_their_own(writer: Writer, run: Opened, pool: Pool) -> None:
    comparison = await page_comparison(run, pool)
    position = await befriend(writer)
    for sequence, text in enumerate(TEXTS, start=1):
        position = position.merge(await say(writer, sequence, text, sender=(ANNA, BEN)[sequence % 2]))
    strangers = [PageRequest(new_id(), BEN) for _ in range(30)]

    async def ask(asked: PageRequest, limit: int) -> int:
        try:
            return len(await items_of(comparison.pages, asked, position, limit))
        except NotFriends:
            return -1

    asked = [(stranger, 50) for stranger in strangers] + [(PageRequest(ANNA, BEN), limit) for limit in range(1, 51)]
    random.Random(3).shuffle(asked)
    counts = await asyncio.gather(*(ask(page, limit) for page, limit in asked))
    assert counts == [-1 if page in strangers else min(limit, len(TEXTS)) for page, limit in asked]
