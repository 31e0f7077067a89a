"""Sending while the read model is stopped: missing events are read from the stream."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client as NATS

from contracts.envelope import Recorded
from contracts.errors import ReadModelBehind
from contracts.events.message import MessageSent
from contracts.subjects import conversation
from contracts.values.ids import pair_id
from projections.conversations import Conversations
from projections.engine import RowChanges, handles
from projections.engine.dead_letters import resolution
from projections.engine.inspection.verify import verify
from projections.engine.storage.connections import connect
from services.messaging.deduplication import deduplicator
from streams.log import Log
from streams.message import Message
from tests.fix_postgres import Pool
from tests.integration.messaging.replica import ANNA, BEN, Replica, caught_up


async def test_no_message_is_doubled_however_far_the_read_model_is_behind(
    streams: NATS, pool: Pool, database_url: str, tmp_path: Path
) -> None:
    first = Replica(streams, pool, await caught_up(streams, pool, database_url), tmp_path)
    ids = [(await first.send(f"id{number}"))[0] for number in range(100)]
    runners = await caught_up(streams, pool, database_url)
    ids += [(await first.send(f"id{number}"))[0] for number in range(100, 250)]
    for replica in (first, Replica(streams, pool, runners, tmp_path)):
        for number in (0, 50, 99, 100, 101, 150, 249):
            assert await replica.send(f"id{number}") == (ids[number], False)
    assert len(await Log(streams).read(conversation(pair_id(ANNA, BEN)))) == 250


async def test_two_replicas_write_to_one_conversation_in_turn(
    streams: NATS, pool: Pool, database_url: str, tmp_path: Path
) -> None:
    runners = await caught_up(streams, pool, database_url)
    replicas = [Replica(streams, pool, runners, tmp_path) for _ in range(2)]
    for number in range(30):
        message_id, created = await replicas[number % 2].send(f"id{number}")
        assert created
        for replica in replicas:
            assert await replica.send(f"id{number}") == (message_id, False)


async def test_a_conversation_from_before_the_start_is_asked_about_once(
    streams: NATS, pool: Pool, database_url: str, tmp_path: Path
) -> None:
    first = Replica(streams, pool, await caught_up(streams, pool, database_url), tmp_path)
    ids = [(await first.send(f"id{number}"))[0] for number in range(100)]
    runners = await caught_up(streams, pool, database_url)
    # Some that the read model does not have.
    ids += [(await first.send(f"id{number}"))[0] for number in range(100, 103)]
    second = Replica(streams, pool, runners, tmp_path)
    for number in range(103, 140):
        message_id, created = await second.send(f"id{number}")
        assert created
        ids.append(message_id)
    assert (second.queries.asked, second.queries.loaded) == (0, 1)
    for number in (0, 99, 100, 102, 103, 139):
        assert await second.send(f"id{number}") == (ids[number], False)
    # What the other has written meanwhile, be it little or much, comes from the stream or is loaded again.
    for count in (3, 70):
        ids += [(await first.send(f"id{number}"))[0] for number in range(len(ids), len(ids) + count)]
        ids.append((await second.send(f"id{len(ids)}"))[0])
        for replica in (first, second):
            assert await replica.send(f"id{len(ids) - 2}") == (ids[-2], False)
            assert await replica.send(f"id{len(ids) - 1}") == (ids[-1], False)
    assert len(await Log(streams).read(conversation(pair_id(ANNA, BEN)))) == len(ids)


async def test_what_many_others_wrote_meanwhile_is_not_searched_for_in_the_stream(
    streams: NATS, pool: Pool, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runners = await caught_up(streams, pool, database_url)
    first, second = (Replica(streams, pool, runners, tmp_path) for _ in range(2))
    await first.send("id0")
    for number in range(1, 70):
        await second.send(f"id{number}")
    runners = await caught_up(streams, pool, database_url)
    read = Log.read
    behind: list[int] = []

    async def noted(self: Log, subject: str, *, after: int = 0, limit: int | None = None) -> list[Message]:
        messages = await read(self, subject, after=after, limit=limit)
        behind.append(len(messages))
        return messages

    monkeypatch.setattr(Log, "read", noted)
    assert (await first.send("id70"))[1]
    assert first.queries.loaded == 1
    assert sum(behind) <= 1
    for count in (1, 15):
        for number in range(count):
            await second.send(f"{count}-{number}")
        assert (await first.send(f"{count}"))[1]
    # A few are read from the stream as they are: nothing is loaded again for them.
    assert first.queries.loaded == 1


async def test_the_ids_of_a_long_conversation_are_loaded_when_asking_has_cost_as_much(
    streams: NATS, pool: Pool, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Replica(streams, pool, await caught_up(streams, pool, database_url), tmp_path)
    ids = [(await first.send(f"id{number}"))[0] for number in range(60)]
    runners = await caught_up(streams, pool, database_url)
    monkeypatch.setattr(deduplicator, "_FOR_ONE", 10)
    monkeypatch.setattr(deduplicator, "_PAGE", 20)
    second = Replica(streams, pool, runners, tmp_path)
    for number in range(60, 90):
        message_id, created = await second.send(f"id{number}")
        assert created
        ids.append(message_id)
    assert 1 < second.queries.asked < 10
    assert second.queries.loaded == 4
    for number in range(90):
        assert await second.send(f"id{number}") == (ids[number], False)
    assert len(await Log(streams).read(conversation(pair_id(ANNA, BEN)))) == 90


async def test_sending_waits_for_better_times_when_the_read_model_is_too_far_behind(
    streams: NATS, pool: Pool, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runners = await caught_up(streams, pool, database_url)
    first = Replica(streams, pool, runners, tmp_path)
    for number in range(20):
        await first.send(f"id{number}")
    monkeypatch.setattr(deduplicator, "MOST_BEHIND", 10)
    cold = Replica(streams, pool, runners, tmp_path)
    with pytest.raises(ReadModelBehind):
        await cold.send("id20")
    await caught_up(streams, pool, database_url)
    assert (await cold.send("id20"))[1]


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """The read model cannot take the message `id3`, until this is called."""
    handler = Conversations.sent

    def refusing(self: Conversations, event: Recorded[MessageSent], write: RowChanges) -> None:
        if event.data.client_message_id == "id3":
            raise ValueError("poison")
        handler(self, event, write)

    with monkeypatch.context() as patched:
        patched.setattr(Conversations, "sent", handles(MessageSent)(refusing))
        yield patched.undo


async def test_a_message_that_the_read_model_could_not_take_is_not_doubled(
    streams: NATS, pool: Pool, database_url: str, tmp_path: Path, poison: Callable[[], None]
) -> None:
    first = Replica(streams, pool, await caught_up(streams, pool, database_url), tmp_path)
    ids = [(await first.send(f"id{number}"))[0] for number in range(6)]
    runners = await caught_up(streams, pool, database_url)
    for number in range(6):
        assert await Replica(streams, pool, runners, tmp_path).send(f"id{number}") == (ids[number], False)
    assert (await Replica(streams, pool, runners, tmp_path).send("id6"))[1]
    poison()
    conn = await connect(database_url, "operator")
    try:
        for dead_letter in await resolution.first_failures(conn, Conversations):
            assert (await resolution.retry(conn, Log(streams), Conversations, dead_letter)).outcome == "applied"
    finally:
        await conn.close()
    runners = await caught_up(streams, pool, database_url)
    assert (await Replica(streams, pool, runners, tmp_path).send("id3")) == (ids[3], False)
    assert (await verify(Conversations, streams, database_url)).equal


async def test_a_message_that_was_discarded_from_the_read_model_is_not_doubled(
    streams: NATS, pool: Pool, database_url: str, tmp_path: Path, poison: Callable[[], None]
) -> None:
    first = Replica(streams, pool, await caught_up(streams, pool, database_url), tmp_path)
    ids = [(await first.send(f"id{number}"))[0] for number in range(6)]
    runners = await caught_up(streams, pool, database_url)
    conn = await connect(database_url, "operator")
    try:
        (dead_letter,) = await resolution.first_failures(conn, Conversations)
        await resolution.discard(conn, Log(streams), dead_letter, "a test", "an operator")
        await resolution.retry(conn, Log(streams), Conversations, dead_letter)
    finally:
        await conn.close()
    for number in range(6):
        assert await Replica(streams, pool, runners, tmp_path).send(f"id{number}") == (ids[number], False)


async def test_sending_waits_when_too_many_of_the_conversation_could_not_be_taken(
    streams: NATS,
    pool: Pool,
    database_url: str,
    tmp_path: Path,
    poison: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = Replica(streams, pool, await caught_up(streams, pool, database_url), tmp_path)
    for number in range(10):
        await first.send(f"id{number}")
    cold = Replica(streams, pool, await caught_up(streams, pool, database_url), tmp_path)
    monkeypatch.setattr(deduplicator, "MOST_BEHIND", 5)
    with pytest.raises(ReadModelBehind):
        await cold.send("id10")
