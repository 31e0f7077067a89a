"""Messages that are older than they are kept are deleted, each once, and auth learns which one is the oldest left."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import cast

import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import now
from contracts.errors import ReadModelBehind
from contracts.events.friendship import FriendshipAccepted
from contracts.events.message import MessageDeleted, MessageSent
from contracts.positions import Position
from contracts.rpc.vestnik.messaging.v1 import GetOldestMessageRequest
from contracts.subjects import CONTACT, MESSAGING
from contracts.values.ids import new_id, pair_id
from contracts.values.timestamps import to_unix_ms
from projections.conversations import Conversations
from projections.engine import ReadModel
from services.messaging.changes.commands import last_changes
from services.messaging.queries import LAST_ID, MessageQueries
from services.messaging.retention import process
from services.messaging.retention.process import MessageRetention
from services.messaging.retention.queries import AgedMessageQueries
from services.messaging.retention.server import RetentionServer
from streams.log import Log
from tests.fix_postgres import Pool
from tests.integration.projections.conftest import run, writer
from tests.integration.projections.event_writer import Opened, Writer, until_ready

__all__ = ["run", "writer"]

ANNA, BEN = new_id(), new_id()
KEEP = timedelta(days=30)


def message(sequence: int) -> MessageSent:
    sender, recipient = (ANNA, BEN) if sequence % 2 else (BEN, ANNA)
    return MessageSent(
        message_id=new_id(),
        sender_id=sender,
        recipient_id=recipient,
        sequence=sequence,
        text=f"text {sequence}",
        client_message_id=str(sequence),
    )


def deletion(of: MessageSent) -> MessageDeleted:
    """The deletion of a message by its sender."""
    return MessageDeleted(
        message_id=of.message_id,
        conversation_id=pair_id(ANNA, BEN),
        sequence=of.sequence,
        sender_id=of.sender_id,
        sent_at=now(),
        members=(ANNA, BEN),
    )


def retention(nc: Client, model: ReadModel, *, days_later: float) -> MessageRetention:
    """The retention of a replica whose clock is some days ahead."""
    return MessageRetention(
        last_changes(Log(nc)),
        AgedMessageQueries(model),
        KEEP,
        clock=lambda: now() + timedelta(days=days_later),
    )


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_PAGE", 3)
    monkeypatch.setattr(process, "_AT_ONCE", 2)


async def test_old_messages_are_deleted_once_by_any_number_of_replicas_and_new_ones_stay(
    streams: Client, writer: Writer, run: Opened, pool: Pool
) -> None:
    conversation_id = pair_id(ANNA, BEN)
    opened = await writer.append(
        subjects.friendship(conversation_id), FriendshipAccepted(requester_id=ANNA, addressee_id=BEN)
    )
    messages = [message(sequence) for sequence in range(1, 9)]
    last = await writer.append(subjects.conversation(conversation_id), *messages)
    runners = await run(Conversations)
    model = ReadModel(Conversations, pool, runners.waiting)
    queries = MessageQueries(model)
    await queries.wait_for(Position.at(MESSAGING, last).merge(Position.at(CONTACT, opened)))

    assert await retention(streams, model, days_later=29).sweep() == 0
    replicas = [retention(streams, model, days_later=31) for _ in range(3)]
    assert sum(await asyncio.gather(*(replica.sweep() for replica in replicas))) == len(messages)
    log = Log(streams)
    for sent in messages:
        [stored] = await log.read(subjects.message(sent.message_id))
        event = stored.open()
        assert isinstance(event.data, MessageDeleted)
        assert (event.data.expired, event.data.members, event.actor) == (True, tuple(sorted((ANNA, BEN))), None)
    await queries.wait_for(Position.at(MESSAGING, await log.end_of(MESSAGING)))
    for sent in messages:
        shown = (await queries.by_message_id(conversation_id, sent.message_id)).message
        assert shown is not None
        assert (shown.text, shown.deleted, shown.sequence) == ("", True, sent.sequence)

    # What comes later is kept, and a sweep that begins with the oldest finds nothing more.
    last = await writer.append(subjects.conversation(conversation_id), message(9))
    await queries.wait_for(Position.at(MESSAGING, last))
    assert await retention(streams, model, days_later=29).sweep() == 0
    assert await replicas[0].sweep() == 1


async def test_a_message_whose_sender_deleted_it_is_not_deleted_again(
    streams: Client, writer: Writer, run: Opened, pool: Pool
) -> None:
    conversation_id, sent = pair_id(ANNA, BEN), message(1)
    last = await writer.append(subjects.conversation(conversation_id), sent)
    runners = await run(Conversations)
    model = ReadModel(Conversations, pool, runners.waiting)
    await MessageQueries(model).wait_for(Position.at(MESSAGING, last))
    await runners.stop()
    # The read model does not know of it yet.
    deleted = deletion(sent)
    await writer.append(subjects.message(sent.message_id), deleted)
    assert await retention(streams, model, days_later=31).sweep() == 0
    [stored] = await Log(streams).read(subjects.message(sent.message_id))
    assert stored.open().data == deleted


async def test_auth_learns_the_oldest_message_left_and_nothing_while_the_read_model_is_behind(
    streams: Client, writer: Writer, run: Opened, pool: Pool
) -> None:
    subject = subjects.conversation(pair_id(ANNA, BEN))
    messages = [message(sequence) for sequence in range(1, 4)]
    await writer.append(subject, *messages)
    runners = await run(Conversations)
    await until_ready(runners)
    model = ReadModel(Conversations, pool, runners.waiting)
    server = RetentionServer(Log(streams), AgedMessageQueries(model))

    async def oldest() -> int | None:
        return (await server.get_oldest_message(GetOldestMessageRequest())).sent_at

    sent = [to_unix_ms(stored.envelope().at) for stored in await Log(streams).read(subject)]
    assert await oldest() == sent[0]
    await writer.append(subjects.message(messages[0].message_id), deletion(messages[0]))
    assert await oldest() == sent[1]
    assert await retention(streams, model, days_later=31).sweep() == 2
    assert await oldest() is None
    await runners.stop()
    await writer.append(subject, message(4))
    with pytest.raises(ReadModelBehind):
        await oldest()


async def test_messages_that_were_deleted_cost_a_sweep_nothing(streams: Client, run: Opened, pool: Pool) -> None:
    runners = await run(Conversations)
    await until_ready(runners)
    plans: list[str] = []

    class Explained:
        async def wait_for(self, position: Position) -> None:
            """The rows are there."""

        async def select(
            self, row_type: type[object], sql: str, params: Mapping[str, object] | None = None
        ) -> tuple[list[object], Position]:
            for table in ("conversations", "messages"):
                sql = sql.replace(f"{{{table}}}", Conversations.view(table))
            async with pool.connection() as conn:
                cursor = await conn.execute(f"EXPLAIN (ANALYZE) {sql}".encode(), params)
                plans.append("\n".join(str(line) for (line,) in await cursor.fetchall()))
            return [], Position()

    # The oldest ones were deleted, and three are left.
    async with pool.connection() as conn:
        await conn.execute(
            f"""
            INSERT INTO {Conversations.view("messages")}
                (conversation_id, sequence, message_id, sender_id, sent_at, text, deleted)
            SELECT %(conversation_id)s, place, lpad(to_hex(place), 32, '0')::uuid, %(sender_id)s, now(), '',
                CASE WHEN place <= 50000 THEN true END
            FROM generate_series(1, 50003) AS place
            """.encode(),
            {"conversation_id": pair_id(ANNA, BEN), "sender_id": ANNA},
        )
        await conn.execute(b"ANALYZE")
    queries = AgedMessageQueries(cast(ReadModel, Explained()))
    await queries.page(process._FIRST, LAST_ID, 1_000)
    await queries.oldest(Position())
    for plan in plans:
        assert "Removed by Filter" not in plan, plan
        assert "Seq Scan on conversations_messages" not in plan, plan
    assert "rows=3" in plans[0], plans[0]
    assert len(plans) == 2
