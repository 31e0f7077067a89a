"""The list of conversations equals the rows, page by page."""

from datetime import UTC, datetime

import msgspec
from msgspec import UNSET

from contracts import subjects
from contracts.events.message import FOREVER, ConversationUpdated
from contracts.messages import ConversationItem
from contracts.positions import Position
from contracts.subjects import MESSAGING
from contracts.values.cursors import decode_cursor
from contracts.values.ids import new_id, pair_id
from services.messaging.pages.queries import ListRequest
from services.messaging.queries import ConversationsCursor
from tests.fix_postgres import Pool
from tests.integration.messaging.pages.conversation_events import ANNA, BEN, TEXTS, befriend, mark, say
from tests.integration.messaging.pages.reference_rows import page_comparison
from tests.integration.projections.event_writer import Opened, Writer


async def test_the_list_of_conversations_is_what_the_rows_say(writer: Writer, run: Opened, pool: Pool) -> None:
    comparison = await page_comparison(run, pool)
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
    await comparison.queries.wait_for(position)
    expected = [msgspec.json.encode(item) for item in await comparison.rows.conversations(ANNA)]
    assert len(expected) == 5
    assert [b'"pinned":true' in item for item in expected] == [True, True, True, False, False]
    for limit in (1, 2, 3, 4, 5, 50):
        after: ConversationsCursor | None = None
        read: list[bytes] = []
        while True:
            listed, _ = await comparison.pages.conversations(ListRequest(ANNA, limit, after), position)
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
        listed, _ = await comparison.pages.conversations(ListRequest(ANNA, 50, None, archived), position)
        shown = b'"archived":true' if archived else b'"archived":false'
        assert listed.array({}) == b"[%b]" % b",".join(item for item in expected if shown in item)
    listed, _ = await comparison.pages.conversations(ListRequest(new_id(), 50, None), position)
    assert (listed.array({}), listed.next) == (b"[]", "")
