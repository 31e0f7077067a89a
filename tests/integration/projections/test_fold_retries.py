"""A dead letter of a folded row is retried by folding the whole row again."""

from datetime import UTC, datetime

import msgspec
import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.positions import Position
from contracts.subjects import MESSAGING
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.sequential.events import KeyUnknown
from projections.engine.dead_letters import resolution
from projections.engine.dead_letters.fold_retry import CannotFoldAgain
from projections.engine.inspection import as_of
from projections.engine.inspection.verify import verify
from projections.engine.rebuild.cutover import start_build
from projections.engine.rebuild.rebuild import rebuild
from projections.engine.storage.builds import Connection
from tests.integration.projections import sample_folds
from tests.integration.projections.event_writer import PATIENCE, RECIPIENT, Opened, Writer, seen, until_ready
from tests.integration.projections.folding import CONVERSATIONS, TALLIES, Operator, dead_letters, message, said
from tests.integration.projections.sample_folds import POISON, ByLength, Tallies
from tests.integration.projections.stored_rows import rows


async def test_an_event_that_cannot_be_read_waits_if_its_aggregate_is_the_key(conn: Connection) -> None:
    one, other, third = CONVERSATIONS
    messages = said((one, "a"), (one, "b"), (one, "c"), (other, "d"), (third, POISON), (third, "behind it"))
    for index in (1, 5):
        unreadable = messages[index].payload.replace(b'"schema":', b'"schema":9')
        messages[index] = msgspec.structs.replace(messages[index], payload=unreadable)
    build = await start_build(conn, Tallies)
    writer = await BuildWriter.open(conn, Tallies, build)
    await writer.apply(MESSAGING, messages, 6)
    assert [row[1] for row in await rows(conn, TALLIES.format("tallies_v1_b1"))] == [1, 1]
    assert await dead_letters(conn, build) == [(2, "failed"), (3, "parked"), (5, "failed"), (6, "parked")]


async def test_an_event_without_an_envelope_waits_if_its_subject_names_its_row(
    streams: Client, writer: Writer, run: Opened, conn: Connection
) -> None:
    runners = await run(Tallies)
    conversation = CONVERSATIONS[0]
    await writer.say(conversation, "a")
    for payload in (b"no envelope", said((conversation, "b"))[0].payload):
        last = (await streams.jetstream().publish(subjects.conversation(conversation), payload)).seq
    await runners.waiting.wait(Tallies, Position.at(MESSAGING, last), PATIENCE)
    waiting = "SELECT sequence, type, state, fold_key FROM projection_dead_letters ORDER BY sequence"
    lane = f'tallies ["{conversation}"]'
    assert await rows(conn, waiting) == [(2, "?", "failed", lane), (3, "message.sent", "parked", lane)]
    operator = Operator(conn, streams)
    assert await operator.retry() == [("failed", 0, 2)]
    await operator.discard()
    assert [row[1] for row in await rows(conn, TALLIES.format("tallies_v1"))] == [2]
    # Nobody knows which reader's row this would be.
    nothing = msgspec.structs.replace(
        message(4, subjects.read_mark(conversation, RECIPIENT), seen(conversation, 1)), payload=b"no envelope"
    )
    build = await start_build(conn, Tallies)
    filling = await BuildWriter.open(conn, Tallies, build)
    with pytest.raises(KeyUnknown, match="MESSAGING 4"):
        await filling.apply(MESSAGING, [nothing], 4)


async def test_a_dead_letter_that_is_folded_into_another_row_now_is_not_retried(
    streams: Client, writer: Writer, run: Opened, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    runners = await run(ByLength)
    monkeypatch.setattr(ByLength, "refused", 1.0)
    last = await writer.say(CONVERSATIONS[0], "a", "bb")
    await runners.waiting.wait(ByLength, Position.at(MESSAGING, last), PATIENCE)
    monkeypatch.setattr(ByLength, "refused", None)
    monkeypatch.setattr(ByLength, "longer_by", 1)
    with pytest.raises(CannotFoldAgain, match=rf"MESSAGING {last - 1} is folded into another row now"):
        await Operator(conn, streams, ByLength).retry()
    assert await rows(conn, "SELECT length, number FROM by_length_v1") == [(2.0, 1)]
    monkeypatch.setattr(ByLength, "longer_by", 0)
    assert await Operator(conn, streams, ByLength).retry() == [("applied", 1, 0)]


async def test_a_retry_folds_its_row_again_and_the_runner_continues_in_order(
    streams: Client,
    writer: Writer,
    run: Opened,
    conn: Connection,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolution, "PAGE", 2)
    runners = await run(Tallies)
    bad, good, _ = CONVERSATIONS

    async def texts(last: int) -> dict[object, object]:
        await runners.waiting.wait(Tallies, Position.at(MESSAGING, last), PATIENCE)
        return {row[0]: (row[1], row[2]) for row in await rows(conn, TALLIES.format("tallies_v1"))}

    await writer.say(bad, "a", "b", POISON, "c", POISON, "d", "e")
    assert await texts(await writer.say(good, "x")) == {bad: (2, ["a", "b"]), good: (1, ["x"])}
    operator = Operator(conn, streams)
    assert await operator.retry() == [("failed", 0, 5)]
    await operator.discard()
    assert await texts(0) == {bad: (3, ["a", "b", "c"]), good: (1, ["x"])}
    # What an earlier state of the code has made of the row is folded again too.
    await conn.execute("UPDATE tallies_v1 SET messages = 100 WHERE conversation_id = %s", (bad,))
    monkeypatch.setattr(sample_folds, "POISON", "no message says this")
    assert await operator.retry() == [("applied", 3, 0)]
    assert await texts(await writer.say(bad, "f")) == {bad: (7, ["d", "e", "f"]), good: (1, ["x"])}
    assert (await verify(Tallies, streams, database_url)).equal
    await rebuild(Tallies, streams, database_url)
    assert await texts(0) == {bad: (7, ["d", "e", "f"]), good: (1, ["x"])}


async def test_a_retry_folds_nothing_from_before_the_projection_began(
    streams: Client,
    writer: Writer,
    run: Opened,
    conn: Connection,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Late(Tallies):
        name = "tallies"
        begin = "now"

    (conversation, *_) = CONVERSATIONS
    await writer.say(conversation, "before", "before")
    runners = await run(Late)
    await until_ready(runners)
    last = await writer.say(conversation, "a", POISON, "b")
    await runners.waiting.wait(Late, Position.at(MESSAGING, last), PATIENCE)
    monkeypatch.setattr(sample_folds, "POISON", "no message says this")
    assert await Operator(conn, streams, Late).retry() == [("applied", 2, 0)]
    assert [row[1] for row in await rows(conn, TALLIES.format("tallies_v1"))] == [3]
    assert (await verify(Late, streams, database_url)).equal


async def test_a_row_wider_than_an_aggregate_waits_and_is_folded_again_over_all_of_them(
    streams: Client,
    writer: Writer,
    run: Opened,
    conn: Connection,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runners = await run(Tallies)
    one, other, third = CONVERSATIONS
    for conversation, sequence in ((one, 1), (other, 13), (one, 2), (third, 3)):
        last = await writer.append(subjects.read_mark(conversation, RECIPIENT), seen(conversation, sequence))
    await runners.waiting.wait(Tallies, Position.at(MESSAGING, last), PATIENCE)
    query = f"SELECT marks, conversation_id::text FROM {Tallies.view('readers')}"
    assert await rows(conn, query) == [(1, one)]
    assert [
        state for _, state in await rows(conn, "SELECT sequence, state FROM projection_dead_letters ORDER BY 1")
    ] == [
        "failed",
        "parked",
        "parked",
    ]
    await Operator(conn, streams).discard()
    assert await rows(conn, query) == [(3, third)]
    assert (await verify(Tallies, streams, database_url)).equal
    async with as_of.opened(streams, database_url, "past", datetime.now(UTC)) as past:
        built = await past.build(Tallies)
        await past.publish()
    assert built.dead_letters == 0
    assert await rows(conn, "SELECT marks, conversation_id::text FROM past.readers") == [(3, third)]
