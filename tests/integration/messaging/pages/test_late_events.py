"""Pages with events that were applied late."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from nats.aio.client import Client

from contracts.positions import Position
from contracts.subjects import MESSAGING
from projections.conversations import Conversations
from projections.engine.apply import event_handlers
from projections.engine.dead_letters import resolution
from projections.engine.storage.connections import connect
from services.messaging.pages.queries import PageRequest
from streams.log import Log
from tests.fix_postgres import Pool
from tests.integration.messaging.pages.conversation_events import ANNA, BEN, CARL, befriend, edit, mark, react, say
from tests.integration.messaging.pages.reference_rows import items_of, page_comparison
from tests.integration.projections.event_writer import Opened, Writer
from tests.integration.projections.test_late_events import refusing


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
    comparison = await page_comparison(run, pool)
    await comparison.agree(position, 50)
    cut, _ = await comparison.pages.messages(PageRequest(ANNA, BEN), position, before=None, after=None, limit=50)
    assert cut is not None
    assert cut.version == ""
    assert len(comparison.pages.pages) == 0
    # Another conversation lacks nothing.
    for _ in range(2):
        asked = PageRequest(ANNA, CARL)
        elsewhere, _ = await comparison.pages.messages(asked, position, before=None, after=None, limit=50)
        assert elsewhere is not None
        assert elsewhere.version
    assert len(comparison.pages.pages) == 1
    monkeypatch.undo()
    conn = await connect(database_url, "operator")
    try:
        for dead_letter in await resolution.first_failures(conn, Conversations):
            assert (await resolution.retry(conn, Log(streams), Conversations, dead_letter)).outcome == "applied"
    finally:
        await conn.close()
    await comparison.agree(position, 50)
    assert len(comparison.pages.pages) == 2


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
    comparison = await page_comparison(run, pool)
    items = await items_of(comparison.pages, PageRequest(BEN, ANNA), position, 50)
    assert [(item["sequence"], item.get("deleted")) for item in items] == [(3, True), (1, None)]
    for limit in (1, 2, 50):
        for before, after in ((None, None), (4, None), (None, 0), (None, 1)):
            await comparison.agree(position, limit, before=before, after=after)
    monkeypatch.undo()
    conn = await connect(database_url, "operator")
    try:
        while dead_letters := await resolution.first_failures(conn, Conversations):
            for dead_letter in dead_letters:
                assert (await resolution.retry(conn, Log(streams), Conversations, dead_letter)).outcome == "applied"
    finally:
        await conn.close()
    await comparison.agree(position, 50)
    items = await items_of(comparison.pages, PageRequest(BEN, ANNA), position, 50)
    shown = [(item["text"], "reactions" in item) for item in items]
    assert shown == [("", False), ("a secret", True), ("hello", False)]
