"""The rows of one key are rebuilt in place, while its events arrive; or the reason says why they cannot be."""

import asyncio

import msgspec
import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import Recorded
from contracts.events.message import MessageSent
from contracts.events.user import UserErased
from contracts.positions import Position
from contracts.subjects import AUTH, MESSAGING
from contracts.values.ids import new_id
from projections.engine import Projection, ReadModel, RowChanges, handles
from projections.engine.erasing import ERASED_USERS, ErasingProjection
from projections.engine.inspection.verify import verify
from projections.engine.rebuild import one_key
from projections.engine.rebuild.one_key import BuildReplaced, NoSuchKey, NotSeparable, RebuiltKey, rebuild_key
from projections.engine.rebuild.rebuild import rebuild
from projections.engine.rebuild.row_replacement import CannotApply, RowReplacement
from projections.engine.storage.builds import Connection
from tests.fix_postgres import Pool
from tests.integration.projections import sample_folds
from tests.integration.projections.event_writer import (
    PATIENCE,
    RECIPIENT,
    SENDER,
    Opened,
    Writer,
    conversation_ids,
    seen,
    until_ready,
)
from tests.integration.projections.sample_folds import Tallies
from tests.integration.projections.sample_lookups import Mutuals
from tests.integration.projections.sample_projection import POISON, Letters
from tests.integration.projections.test_begin import Late
from tests.integration.projections.test_pauses import operator, paused
from tests.integration.projections.test_rows_that_expire import SHOWN, Notes
from tests.integration.projections.test_rows_that_expire import one as one_row
from tests.integration.projections.test_views_and_functions import Talks
from tests.integration.projections.writer_lock import growing, held_up


class Totals(Projection):
    """One row of all conversations of a sender."""

    streams = (MESSAGING,)
    tables = "CREATE TABLE {totals} (sender_id uuid PRIMARY KEY, messages bigint NOT NULL DEFAULT 0)"

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        write.upsert("totals", key={"sender_id": event.data.sender_id}, add={"messages": 1})


class Cleared(Projection):
    """Deletes rows by a part of their key."""

    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {cleared} (conversation_id uuid, sequence bigint, PRIMARY KEY (conversation_id, sequence))
    """

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        key = {"conversation_id": event.aggregate_id}
        if event.data.sequence == 2:
            write.delete_all("cleared", key=key)
        write.upsert("cleared", key={**key, "sequence": event.data.sequence})


class Quotes(ErasingProjection):
    """Has personal data."""

    streams = (MESSAGING, AUTH)
    tables = (
        ERASED_USERS
        + """
        CREATE TABLE {quotes} (message_id uuid PRIMARY KEY, sequence bigint, sender_id uuid, text text)
    """
    )
    erasures = ("UPDATE {quotes} SET text = '' WHERE sender_id = ANY(%(users)s) AND text <> ''",)

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        message = event.data
        values = {"sequence": message.sequence, "sender_id": message.sender_id, "text": message.text}
        write.upsert("quotes", key={"message_id": message.message_id}, set=values)


class Named(msgspec.Struct):
    one: int


async def rebuilt(database_url: str, nc: Client, projection: type[Projection], key: str) -> RebuiltKey:
    async with operator(database_url) as conn:
        return await rebuild_key(conn, nc, projection, key)


async def damage(pool: Pool, *statements: bytes) -> None:
    async with pool.connection() as conn:
        for statement in statements:
            await conn.execute(statement)


async def test_the_rows_of_an_aggregate_are_rebuilt_while_its_events_and_others_arrive(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last events are read under the lock, however many arrive.
    monkeypatch.setattr(one_key, "_LAST_EVENTS", 0)
    runners = await run(Letters)
    mine, other = conversation_ids(2)
    await writer.fill([mine, other], 200)
    await writer.append(subjects.read_mark(mine, RECIPIENT), seen(mine, 100))
    # Dead letters stay what they are.
    last = await writer.say(mine, POISON, "behind it")
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    stop = asyncio.Event()

    async def write() -> int:
        last = 0
        while not stop.is_set():
            last = await writer.append(subjects.read_mark(mine, RECIPIENT), seen(mine, 101))
            last = await writer.say(other, "text")
        return last

    writing = asyncio.create_task(write())
    # Each subject has this word, but not among its ids.
    for word in ("vestnik", "messaging", "conversation"):
        with pytest.raises(NoSuchKey, match="no event that changes rows has it in its subject"):
            await rebuilt(database_url, streams, Letters, word)
    for _ in range(3):
        await damage(
            pool,
            b"UPDATE letters_v1 SET messages = 7, seen = 5, last_text = 'no'",
            b"DELETE FROM letters_texts_v1 WHERE sequence = 3",
            b"UPDATE letters_texts_v1 SET text = 'wrong' WHERE sequence > 190 AND sequence < 201",
        )
        done = await rebuilt(database_url, streams, Letters, mine)
        assert done.rows == 202  # the letters, 200 texts, and the one that waits
        await rebuilt(database_url, streams, Letters, other)
    stop.set()
    last = await writing
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    verdict = await verify(Letters, streams, database_url)
    assert (verdict.equal, verdict.dead_letters) == (True, 2)


async def test_a_folded_row_is_rebuilt_by_its_key_while_it_is_folded(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Tallies)
    one, other = conversation_ids(2)
    await writer.fill([one, other], 20)
    for conversation in (one, other):
        await writer.append(subjects.read_mark(conversation, RECIPIENT), *(seen(conversation, n) for n in range(12)))
    stop = asyncio.Event()

    async def write() -> int:
        last = 0
        while not stop.is_set():
            last = await writer.append(subjects.read_mark(one, RECIPIENT), seen(one, 1))
            last = await writer.say(one, "text")
        return last

    writing = asyncio.create_task(write())
    await runners.waiting.wait(Tallies, Position.at(MESSAGING, 64), PATIENCE)
    for _ in range(3):
        await damage(pool, b"UPDATE tallies_v1 SET messages = 1000", b"UPDATE tallies_readers_v1 SET marks = -5")
        # Wider than an aggregate; upper case is the same key.
        assert (await rebuilt(database_url, streams, Tallies, f"readers:{RECIPIENT.upper()}")).rows == 1
        assert (await rebuilt(database_url, streams, Tallies, f"tallies:{one}")).rows == 1
        assert (await rebuilt(database_url, streams, Tallies, f"tallies:{other}")).events == 20
    stop.set()
    last = await writing
    await runners.waiting.wait(Tallies, Position.at(MESSAGING, last), PATIENCE)
    assert (await verify(Tallies, streams, database_url)).equal


async def test_the_service_is_held_up_for_a_limited_time_however_fast_the_stream_grows(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_key, "_HOLD_SECONDS", 1.0)
    monkeypatch.setattr(one_key, "_ATTEMPTS", 10)
    runners = await run(Letters)
    mine, other = conversation_ids(2)
    last = await writer.fill([mine, other], 50)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    await damage(pool, b"UPDATE letters_v1 SET messages = 7")
    write, tried = RowReplacement.write, 0

    async def write_slowly(replacement: RowReplacement, conn: Connection) -> None:
        nonlocal tried
        tried += 1
        await write(replacement, conn)
        if tried == 1:
            await conn.execute("SELECT pg_sleep(60)")

    monkeypatch.setattr(RowReplacement, "write", write_slowly)
    async with growing(writer, [mine, other]) as growth, held_up(database_url) as longest:
        assert (await rebuilt(database_url, streams, Letters, mine)).rows > 50
        assert tried > 1
    # The limit, and some time of a machine with much else to do.
    assert 0.9 < longest() < 4.0
    await runners.waiting.wait(Letters, Position.at(MESSAGING, growth.last), PATIENCE)
    assert (await verify(Letters, streams, database_url)).changed == 1  # of the other conversation

    tried = 1
    monkeypatch.setattr(one_key, "_HOLD_SECONDS", 0.0)
    with pytest.raises(NotSeparable, match="to replace them would hold up its service for more than 0 s"):
        await rebuilt(database_url, streams, Letters, mine)


async def test_rows_that_keys_share_are_rebuilt_from_the_events_of_all_of_them(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runners = await run(Tallies, Totals)
    one, other = conversation_ids(2)
    await writer.say(one, "a", "b")
    last = 0
    for conversation in (one, other):
        last = await writer.append(subjects.read_mark(conversation, RECIPIENT), seen(conversation, 1))
    last = await writer.say(other, "c")
    for projection in (Tallies, Totals):
        await runners.waiting.wait(projection, Position.at(MESSAGING, last), PATIENCE)
    await damage(
        pool,
        b"UPDATE tallies_v1 SET messages = 1000",
        b"UPDATE tallies_readers_v1 SET marks = -5",
        b"UPDATE totals_v1 SET messages = 1000",
    )
    # Its tally, and its reader's row, which the other conversation changes too.
    done = await rebuilt(database_url, streams, Tallies, one)
    assert (done.rows, done.events) == (2, 4)
    done = await rebuilt(database_url, streams, Totals, one)
    assert (done.rows, done.events) == (1, 3)
    assert (await verify(Totals, streams, database_url)).equal
    assert (await verify(Tallies, streams, database_url)).changed == 1
    with monkeypatch.context() as patch:
        patch.setattr(one_key, "_MOST_EVENTS", 2)
        with pytest.raises(NotSeparable, match="more than 2 events change its rows"):
            await rebuilt(database_url, streams, Totals, one)
    monkeypatch.setattr(one_key, "_MOST_ROWS", 1)
    with pytest.raises(NotSeparable, match="its events change more than 1 rows"):
        await rebuilt(database_url, streams, Tallies, one)


@pytest.mark.parametrize("projection", [Cleared, Mutuals, Talks])
async def test_what_is_not_of_one_key_is_refused_with_the_reason(
    projection: type[Projection], streams: Client, writer: Writer, run: Opened, database_url: str
) -> None:
    reasons = {
        Cleared: "deleted by a part of their key",
        Mutuals: "look up other rows",
        Talks: "triggers change rows as well",
    }
    one, other = conversation_ids(2)
    await writer.say(one, "a", "b", "c")
    last = await writer.say(other, "a")
    runners = await run(projection)
    await until_ready(runners)
    await runners.waiting.wait(projection, Position.at(MESSAGING, last), PATIENCE)
    with pytest.raises(NotSeparable, match=reasons[projection]) as refusal:
        await rebuilt(database_url, streams, projection, one)
    assert f"`vestnik rebuild {projection.name}` rebuilds all of them" in str(refusal.value)
    assert (await verify(projection, streams, database_url)).equal


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (
            "01900000-0000-7000-8000-000000000000",
            "no event that changes rows has it in its subject; a row that events are folded into is named by its key,"
            " such as tallies:01900000-0000-7000-8000-000000000000",
        ),
        ("*", "a key is an id"),
        (">", "a key is an id"),
        ("vestnik.messaging", "a key is an id"),
        ("", "a key is an id"),
        ("letters:01900000-0000-7000-8000-000000000000", "a key is an id"),
        ("tallies:nobody", "no event is folded into it"),
        ("tallies:", "no event is folded into it"),
        ("readers:01900000-0000-7000-8000-000000000000", "no event is folded into it"),
    ],
)
async def test_what_is_no_key_is_refused(
    key: str, reason: str, streams: Client, writer: Writer, run: Opened, database_url: str
) -> None:
    runners = await run(Tallies)
    last = await writer.say(conversation_ids(1)[0], "a")
    await runners.waiting.wait(Tallies, Position.at(MESSAGING, last), PATIENCE)
    with pytest.raises(NoSuchKey, match=reason):
        await rebuilt(database_url, streams, Tallies, key)


async def test_the_texts_of_a_user_who_was_erased_do_not_come_back(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Quotes)
    (conversation,) = conversation_ids(1)
    last = await writer.say(conversation, "a secret", "another one")
    await runners.waiting.wait(Quotes, Position.at(MESSAGING, last), PATIENCE)
    other = new_id()
    for user_id in (SENDER, other):
        erased = await writer.append(subjects.user(user_id), UserErased(reason="requested"))
    await runners.waiting.wait(Quotes, Position.at(AUTH, erased), PATIENCE)
    await damage(
        pool,
        b"UPDATE quotes_v1 SET sequence = 7",
        f"INSERT INTO quotes_v1 VALUES ('{new_id()}', 8, '{other}', 'of another key')".encode(),
    )
    # The stream has the texts in plain form, as those of earlier releases are.
    assert (await rebuilt(database_url, streams, Quotes, conversation)).rows == 2
    async with pool.connection() as conn:
        rows = await (await conn.execute("SELECT sequence, text FROM quotes_v1 ORDER BY sequence")).fetchall()
    # Users whose texts are in no row of the key are not looked for: there may be many.
    assert rows == [(1, ""), (2, ""), (8, "of another key")]
    await damage(pool, b"DELETE FROM quotes_v1 WHERE sequence = 8")
    assert (await verify(Quotes, streams, database_url)).equal


async def test_rows_begin_where_the_projection_has_begun(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    (conversation,) = conversation_ids(1)
    await writer.say(conversation, "before", "its first start")
    runners = await run(Late)
    await until_ready(runners)
    last = await writer.say(conversation, "a", "b", "c")
    await runners.waiting.wait(Late, Position.at(MESSAGING, last), PATIENCE)
    await damage(pool, b"UPDATE letters_v1 SET messages = 1000")
    assert (await rebuilt(database_url, streams, Late, conversation)).events == 3
    assert (await verify(Late, streams, database_url)).equal


async def test_rows_that_have_ended_in_between_begin_again_as_they_did(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    over, lasts = conversation_ids(2)
    # The second message finds no row.
    await writer.say(over, "0", "60")
    last = await writer.say(lasts, "60", "60")
    runners = await run(Notes)
    await runners.waiting.wait(Notes, Position.at(MESSAGING, last), PATIENCE)
    await damage(pool, b"UPDATE notes_v1_b1 SET messages = 1000")
    for conversation in (over, lasts):
        assert (await rebuilt(database_url, streams, Notes, conversation)).events == 2
    assert await one_row(pool, SHOWN) == (2, 2, 3)
    assert (await verify(Notes, streams, database_url)).equal


async def test_two_operators_a_pause_and_a_rebuild_at_once_leave_the_rows_right(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    (conversation,) = conversation_ids(1)
    last = await writer.fill([conversation], 300)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    await damage(pool, b"UPDATE letters_v1 SET messages = 7")
    await paused(database_url)
    outcomes = await asyncio.gather(
        rebuilt(database_url, streams, Letters, conversation),
        rebuilt(database_url, streams, Letters, conversation),
        rebuild(Letters, streams, database_url),
        return_exceptions=True,
    )
    assert not isinstance(outcomes[2], BaseException)
    assert all(isinstance(outcome, RebuiltKey | BuildReplaced) for outcome in outcomes[:2])
    assert (await verify(Letters, streams, database_url)).equal


async def test_an_event_that_the_code_no_longer_applies_changes_nothing(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runners = await run(Tallies)
    (conversation,) = conversation_ids(1)
    last = await writer.say(conversation, "a", "b")
    await runners.waiting.wait(Tallies, Position.at(MESSAGING, last), PATIENCE)
    await damage(pool, b"UPDATE tallies_v1 SET messages = 1000")
    monkeypatch.setattr(sample_folds, "POISON", "b")
    with pytest.raises(CannotApply, match=rf"MESSAGING {last} cannot be applied: ValueError: details withheld"):
        await rebuilt(database_url, streams, Tallies, f"tallies:{conversation}")
    async with pool.connection() as conn:
        assert await (await conn.execute("SELECT messages FROM tallies_v1")).fetchall() == [(1000,)]


async def test_rows_that_were_kept_of_the_build_are_not_used_again(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    model = ReadModel(Letters, pool, runners.waiting)
    (conversation,) = conversation_ids(1)
    await model.wait_for(Position.at(MESSAGING, await writer.say(conversation, "a")), PATIENCE)
    _, before = await model.select_snapshot(Named, "SELECT 1 AS one FROM {letters}")
    await rebuilt(database_url, streams, Letters, conversation)
    _, after = await model.select_snapshot(Named, "SELECT 1 AS one FROM {letters}")
    assert before.position == after.position
    assert before.identity != after.identity
