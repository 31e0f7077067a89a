"""Missed events have the bytes that they had live."""

import msgspec
from nats.aio.client import Client

from contracts import subjects
from contracts.messages import LiveMessage
from contracts.rpc.vestnik.messaging.v1 import ClientEvent
from contracts.subjects import MESSAGING
from contracts.values.timestamps import rfc3339
from services.gateway.live.fanout import fan_out, with_quote
from services.gateway.live.replay_buffer import ReplayBuffer
from services.messaging.backfill.backfill import backfill
from streams.log import Log
from tests.fix_postgres import Pool
from tests.integration.messaging.pages.conversation_events import (
    ANNA,
    BEN,
    PAIR,
    TEXTS,
    befriend,
    edit,
    mark,
    message_id,
    react,
    say,
)
from tests.integration.messaging.pages.reference_rows import page_comparison
from tests.integration.projections.event_writer import Opened, Writer


async def test_a_missed_message_has_the_bytes_that_it_had_live(
    writer: Writer, run: Opened, pool: Pool, streams: Client
) -> None:
    comparison = await page_comparison(run, pool)
    position = await befriend(writer)
    for sequence, text in enumerate(TEXTS, start=1):
        reply_to = sequence - 1 if sequence % 4 == 3 else None
        said = await say(writer, sequence, text, sender=(ANNA, BEN)[sequence % 2], reply_to=reply_to)
        position = position.merge(said)
    await comparison.queries.wait_for(position)
    recent = ReplayBuffer()
    for message in await Log(streams).read(subjects.conversation(PAIR)):
        event = next(fan_out(message.open()))
        quoted = recent.text_of(event.quoted.message_id) if event.quoted is not None else None
        recent.add(event if quoted is None else with_quote(event, quoted))
    live = recent.since(0)
    assert len(live) == len(TEXTS)
    for user_id in (ANNA, BEN):
        missed = await comparison.missed.messages(user_id, 0, 100, 1_000_000)
        assert [(row.stream_sequence, row.data.encode()) for row in missed] == [
            (event.sequence, event.payload_by_user[user_id]) for event in live
        ]
        decoded = [msgspec.json.decode(row.data, type=LiveMessage) for row in missed]
        assert [message.text for message in decoded] == list(TEXTS)
        assert [row.text_size for row in missed] == [len(text.encode()) for text in TEXTS]


async def test_a_missed_change_is_sent_as_the_last_one_was_live(
    writer: Writer, run: Opened, pool: Pool, streams: Client
) -> None:
    comparison = await page_comparison(run, pool)
    position = await befriend(writer)
    for sequence in (1, 2, 3):
        position = position.merge(await say(writer, sequence, "first"))
    begin = position.sequence(MESSAGING)
    for sequence, changed in ((1, "a"), (2, TEXTS[0]), (3, None), (1, TEXTS[1])):
        position = await edit(writer, sequence, changed)
    await comparison.queries.wait_for(position)
    log = Log(streams)
    sent_at = [rfc3339(message.envelope().at) for message in await log.read(subjects.conversation(PAIR))]
    live = {
        event.sequence: event
        for sequence in (1, 2, 3)
        for message in await log.read(subjects.message(message_id(sequence)))
        for event in fan_out(message.open())
    }
    for user_id in (ANNA, BEN):
        missed = await comparison.missed.messages(user_id, begin, 100, 1_000_000)
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
    comparison = await page_comparison(run, pool)
    position = (await befriend(writer)).merge(await say(writer, 1, "hello"))
    # Only the latest of each user to a message is sent; a removed one too.
    for emoji, user_id in (("👍", BEN), ("👍", ANNA), ("❤️", BEN), (None, ANNA)):
        position = position.merge(await react(writer, 1, emoji, user_id=user_id))
    position = position.merge(await say(writer, 2, "there")).merge(await mark(writer, 2))
    position = position.merge(await react(writer, 2, "👍"))
    await comparison.queries.wait_for(position)
    reactions = [
        next(fan_out(message.open()))
        for sequence in (1, 2)
        for message in await Log(streams).read(subjects.message(message_id(sequence)))
    ]
    for user_id in (ANNA, BEN):
        missed = [event async for event in backfill(comparison.missed, user_id, 0)]
        kinds = ["message.sent", "reaction.changed", "reaction.changed"]
        assert [event.type for event in missed] == [*kinds, "message.sent", "message.seen", "reaction.changed"]
        assert [event.sequence for event in missed] == sorted(event.sequence for event in missed)
        assert [(event.sequence, event.data) for event in missed if event.type == "reaction.changed"] == [
            (event.sequence, event.payload_by_user[user_id]) for event in reactions[2:]
        ]
        # In parts, each from the last event of the one before.
        parts, after = list[ClientEvent](), 0
        while part := [event async for event in backfill(comparison.missed, user_id, after, limit=2)]:
            parts, after = [*parts, *part], part[-1].sequence
        assert parts == missed
