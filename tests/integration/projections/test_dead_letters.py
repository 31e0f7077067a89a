"""An event that cannot be applied is retried once its cause is fixed, or discarded."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from itertools import count
from typing import cast

import msgspec
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nats.aio.client import Client
from psycopg import OperationalError

from contracts import subjects, upcasts
from contracts.envelope import Recorded, now
from contracts.errors import Unavailable
from contracts.events.user import EmailClaimed
from contracts.positions import Position
from contracts.subjects import MESSAGING
from contracts.values.ids import new_id
from projections.engine import Projection, ReadModel, RowChanges, Runners, handles
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.dead_letters import discards, queries, resolution
from projections.engine.dead_letters.discards import Discarded
from projections.engine.dead_letters.outcomes import (
    AlreadyDiscarded,
    AppliedElsewhere,
    BlockedByEarlier,
    BuildGone,
    Interrupted,
    OtherVersion,
    Retried,
)
from projections.engine.dead_letters.queries import DeadLetterFilter, DeadLetterRow, NoSuchLetter
from projections.engine.dead_letters.retry import retry_all, retry_behind
from projections.engine.inspection.verify import Verdict, verify
from projections.engine.rebuild.cutover import start_build
from projections.engine.rebuild.rebuild import Rebuilt, rebuild
from projections.engine.storage.builds import Connection
from projections.engine.storage.connections import connect
from projections.engine.storage.schema import ensure_schema
from streams.log import Log
from streams.message import Message
from streams.personal_data import cipher
from streams.personal_data.reading import unseal_with
from streams.personal_data.unsealer import Unsealer
from tests.fix_older_events import ANNA, GreetingSent, as_stored, sender
from tests.fix_postgres import Pool
from tests.integration.projections import sample_projection as letters
from tests.integration.projections.event_writer import Opened, Writer, conversation_ids, sent, until_ready
from tests.integration.projections.sample_projection import POISON, Letters

Mend = Callable[[], None]


class Operator:
    """What the commands do, without the command line."""

    def __init__(self, nc: Client, conn: Connection, database_url: str) -> None:
        self.nc = nc
        self.conn = conn
        self.log = Log(nc)
        self._database_url = database_url

    async def letters(
        self,
        *,
        state: str | None = None,
        event_type: str | None = None,
        aggregate_id: str | None = None,
    ) -> list[DeadLetterRow]:
        wanted = DeadLetterFilter(state=state, type=event_type, aggregate_id=aggregate_id)
        return [letter async for letter in queries.list_dead_letters(self.conn, wanted)]

    async def states(self, conversation: str) -> list[str]:
        return [letter.state for letter in await self.letters(aggregate_id=conversation)]

    async def failed(self, projection: type[Projection] = Letters) -> DeadLetterRow:
        (letter,) = await resolution.first_failures(self.conn, projection)
        return letter

    async def retry(self, projection: type[Projection] = Letters) -> list[Retried]:
        heads = await resolution.first_failures(self.conn, projection)
        return [await resolution.retry(self.conn, self.log, projection, letter) for letter in heads]

    async def discard(self) -> DeadLetterRow:
        letter = await self.failed()
        await resolution.discard(self.conn, self.log, letter, "it was a test", "an operator")
        await resolution.retry(self.conn, self.log, Letters, letter)
        return letter

    async def verify(self, projection: type[Projection] = Letters) -> Verdict:
        return await verify(projection, self.nc, self._database_url)

    async def rebuild(self) -> Rebuilt:
        return await rebuild(Letters, self.nc, self._database_url)


@pytest_asyncio.fixture
async def operator(streams: Client, database_url: str) -> AsyncIterator[Operator]:
    conn = await connect(database_url, "operator")
    await ensure_schema(conn)
    try:
        yield Operator(streams, conn, database_url)
    finally:
        await conn.close()


@pytest.fixture
def mend(monkeypatch: pytest.MonkeyPatch) -> Mend:
    """Makes the handler accept the events that it refused before."""
    return lambda: monkeypatch.setattr(letters, "POISON", "no message says this")


async def applied(runners: Runners, last: int) -> None:
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), 60)


class Texts(msgspec.Struct):
    texts: list[str]


async def texts(pool: Pool, runners: Runners, conversation: str) -> list[str]:
    rows, _ = await ReadModel(Letters, pool, runners.waiting).select(
        Texts,
        "SELECT coalesce(array_agg(text ORDER BY sequence), '{}') AS texts FROM {texts} WHERE conversation_id = %(id)s",
        {"id": conversation},
    )
    return rows[0].texts


async def test_a_mended_event_is_applied_with_those_behind_it_and_the_runner_goes_on_in_order(
    writer: Writer, run: Opened, pool: Pool, operator: Operator, mend: Mend
) -> None:
    runners = await run(Letters)
    bad, fine = conversation_ids(2)
    await writer.say(bad, "a", POISON, "b")
    await writer.say(fine, "x")
    await applied(runners, await writer.say(bad, "c"))
    assert await operator.states(bad) == ["failed", "parked", "parked"]
    mend()
    (retried,) = await operator.retry()
    assert (retried.outcome, retried.applied, retried.left) == ("applied", 3, 0)
    # With the very next batch, without a restart, the aggregate is free.
    await applied(runners, await writer.say(bad, "d"))
    assert await texts(pool, runners, bad) == ["a", POISON, "b", "c", "d"]
    assert await operator.letters() == []
    assert (await operator.verify()).equal


async def test_what_fails_again_stays_with_its_new_reason_and_what_came_before_it_is_applied(
    writer: Writer, run: Opened, pool: Pool, operator: Operator, mend: Mend
) -> None:
    runners = await run(Letters)
    (bad,) = conversation_ids(1)
    await applied(runners, await writer.say(bad, POISON, "b", "poison for the table", "c"))
    (again,) = await operator.retry()
    assert (again.outcome, again.applied, again.left, again.failed_id) == ("failed", 0, 4, again.id)
    assert (await operator.failed()).attempts == 2
    mend()
    (partly,) = await operator.retry()
    assert (partly.outcome, partly.applied, partly.left) == ("failed", 2, 2)
    head = await operator.failed()
    assert partly.failed_id == str(head.id)
    assert "check constraint" in head.reason
    assert await operator.states(bad) == ["failed", "parked"]
    assert await texts(pool, runners, bad) == [POISON, "b"]
    assert (await operator.verify()).equal


async def test_events_that_come_during_retries_are_applied_once_and_in_order(
    writer: Writer, run: Opened, pool: Pool, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolution, "PAGE", 7)
    runners = await run(Letters)
    # While events come without end, a first build goes live at some time, and what was kept of it before is gone.
    await until_ready(runners)
    bad, other = conversation_ids(2)
    monkeypatch.setattr(letters, "POISON", "text 40")
    stop = asyncio.Event()

    async def write() -> int:
        last = number = 0
        # With an end of its own: who retries need not be quicker than who writes without a pause.
        while number < 400 or not (stop.is_set() or number >= 4_000):
            if number >= 400:
                await asyncio.sleep(0.01)  # events still come all the time, but not as many as the machine can take
            for conversation in (bad, other):
                last = await writer.say(conversation, *(f"text {number + place}" for place in range(5)))
            number += 5
        return last

    writing = asyncio.create_task(write())
    while not await operator.letters(state="failed"):
        await asyncio.sleep(0.01)
    await operator.retry()
    monkeypatch.setattr(letters, "POISON", "no message says this")
    while await operator.letters(state="failed"):
        await operator.retry()
    stop.set()
    await applied(runners, await writing)
    assert await operator.retry() == []
    found = await texts(pool, runners, bad)
    assert found == [f"text {number}" for number in range(len(found))]
    assert (await operator.verify()).equal


async def test_two_retries_at_once_apply_every_event_once(
    streams: Client, database_url: str, writer: Writer, run: Opened, operator: Operator, mend: Mend
) -> None:
    runners = await run(Letters)
    bad = conversation_ids(5)
    for conversation in bad:
        last = await writer.say(conversation, POISON, *["text"] * 50)
    await applied(runners, last)
    mend()
    second = await connect(database_url, "another operator")
    try:
        results = await asyncio.gather(operator.retry(), Operator(streams, second, database_url).retry())
    finally:
        await second.close()
    assert sum(each.applied for result in results for each in result) == 5 * 51
    assert (await operator.verify()).equal


async def test_a_retry_brings_older_events_to_todays_shape(
    greetings: None, streams: Client, run: Opened, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(upcasts.STEPS, (GreetingSent.TYPE, 1))
    talk = new_id()
    for place, schema in enumerate((1, 3)):
        last = await operator.log.append(as_stored(schema, talk, expected=place, version=place + 1))
    runners = await run(Words)
    await runners.waiting.wait(Words, Position.at(MESSAGING, last), 60)
    assert [letter.state for letter in await operator.letters()] == ["failed", "parked"]
    assert "there is no upcast" in (await operator.failed(Words)).reason
    monkeypatch.setitem(upcasts.STEPS, (GreetingSent.TYPE, 1), sender)
    (retried,) = await operator.retry(Words)
    assert (retried.outcome, retried.applied) == ("applied", 2)
    cursor = await operator.conn.execute("SELECT sender_id::text, words FROM words_v1")
    assert await cursor.fetchall() == [(ANNA, 4)]
    assert (await operator.verify(Words)).equal


class Words(Projection):
    streams = (MESSAGING,)
    tables = "CREATE TABLE {words} (sender_id uuid PRIMARY KEY, words bigint NOT NULL DEFAULT 0)"

    @handles(GreetingSent)
    def greeted(self, event: Recorded[GreetingSent], write: RowChanges) -> None:
        write.upsert("words", key={"sender_id": event.data.sender_id}, add={"words": event.data.words})


async def test_a_discarded_event_is_left_out_by_rebuilds_and_verifications_also_after_the_mend(
    writer: Writer, run: Opened, pool: Pool, operator: Operator, mend: Mend
) -> None:
    runners = await run(Letters)
    (bad,) = conversation_ids(1)
    await applied(runners, await writer.say(bad, "a", POISON, "b"))
    letter = await operator.discard()
    assert await operator.letters() == []
    await applied(runners, await writer.say(bad, "c"))
    assert await texts(pool, runners, bad) == ["a", "b", "c"]
    mend()
    verdict = await operator.verify()
    assert (verdict.equal, verdict.discarded) == (True, 1)
    await operator.rebuild()
    assert await texts(pool, runners, bad) == ["a", "b", "c"]
    assert (await operator.verify()).equal
    kept = await queries.get_dead_letter(operator.conn, letter.id)
    assert isinstance(kept, Discarded)
    assert (kept.reason, kept.discarded_by, kept.error) == ("it was a test", "an operator", letter.reason)
    with pytest.raises(AlreadyDiscarded):
        await resolution.retryable_letter(operator.conn, letter.id)


async def test_a_discard_survives_the_database_on_which_it_was_made(
    streams: Client, database_url: str, writer: Writer, run: Opened, pool: Pool, operator: Operator, mend: Mend
) -> None:
    first = await run(Letters)
    (bad,) = conversation_ids(1)
    last = await writer.say(bad, "a", POISON, "b")
    await applied(first, last)
    discarded = (await operator.discard()).id
    await first.stop()
    async with pool.connection() as conn:
        await conn.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    mend()
    second = await run(Letters)
    await applied(second, last)
    await until_ready(second)
    assert await texts(pool, second, bad) == ["a", "b"]
    verdict = await operator.verify()
    assert (verdict.equal, verdict.discarded) == (True, 1)
    await operator.rebuild()
    assert (await operator.verify()).equal
    (kept,) = await queries.discarded(streams, DeadLetterFilter(projections=["letters"], aggregate_id=bad))
    assert (kept.id, kept.reason, kept.discarded_by) == (discarded, "it was a test", "an operator")
    assert await queries.discarded(streams, DeadLetterFilter(projections=["conversations"])) == []


async def interrupted(operator: Operator) -> Discarded:
    """A discard of the failed event that is only in the stream, not in the table."""
    letter = await operator.failed()
    discard = Discarded(
        projection=letter.projection,
        version=letter.version,
        build=letter.build,
        stream=letter.stream,
        sequence=letter.sequence,
        subject=letter.subject,
        type=letter.type,
        error=letter.reason,
        reason="it was a test",
        discarded_by="an operator",
        discarded_at=now(),
    )
    await discards.append(operator.log, discard, "operator:an operator")
    return discard


async def test_a_discard_that_was_interrupted_counts_and_is_done_by_the_next_start(
    writer: Writer, run: Opened, pool: Pool, operator: Operator, mend: Mend
) -> None:
    first = await run(Letters)
    (bad,) = conversation_ids(1)
    last = await writer.say(bad, "a", POISON, "b")
    await applied(first, last)
    await interrupted(operator)
    mend()
    # Although it could be applied now.
    with pytest.raises(AlreadyDiscarded):
        await operator.retry()
    with pytest.raises(AlreadyDiscarded):
        await operator.discard()
    assert await operator.states(bad) == ["failed", "parked"]
    await first.stop()
    second = await run(Letters)
    await until_ready(second)
    assert await operator.states(bad) == ["failed"]
    (retried,) = await operator.retry()
    assert (retried.outcome, retried.applied) == ("applied", 1)
    assert await texts(pool, second, bad) == ["a", "b"]
    verdict = await operator.verify()
    assert (verdict.equal, verdict.discarded) == (True, 1)


async def test_a_live_read_model_hears_at_once_of_a_discard_that_another_process_finishes(
    streams: Client, writer: Writer, run: Opened, pool: Pool, operator: Operator
) -> None:
    runners = await run(Letters)
    (bad,) = conversation_ids(1)
    await applied(runners, await writer.say(bad, "a", POISON))
    await interrupted(operator)
    await discards.catch_up(operator.conn, streams, Letters.name)
    await applied(runners, await writer.say(bad, "b"))
    assert await texts(pool, runners, bad) == ["a", "b"]
    assert (await operator.verify()).equal


async def test_what_the_stream_does_not_take_is_not_discarded(
    writer: Writer, run: Opened, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    runners = await run(Letters)
    (bad,) = conversation_ids(1)
    await applied(runners, await writer.say(bad, "a", POISON, "b"))

    async def away(append: object) -> int:
        raise Unavailable

    with monkeypatch.context() as patched:
        patched.setattr(operator.log, "append", away)
        with pytest.raises(Unavailable):
            await operator.discard()
    assert await operator.states(bad) == ["failed", "parked"]
    verdict = await operator.verify()
    assert (verdict.equal, verdict.discarded, verdict.dead_letters) == (True, 0, 2)


async def test_a_discard_that_the_database_alone_names_is_none(writer: Writer, run: Opened, operator: Operator) -> None:
    runners = await run(Letters)
    (bad,) = conversation_ids(1)
    await applied(runners, await writer.say(bad, "a", POISON, "b"))
    await operator.discard()
    await operator.conn.execute("UPDATE projection_discards SET sequence = 1")
    verdict = await operator.verify()
    assert (verdict.equal, verdict.discarded) == (True, 1)


async def half_built(operator: Operator, conn: Connection, until: int) -> BuildWriter:
    """A build beside the live one that has come so far in the stream."""
    filling = await BuildWriter.open(conn, Letters, await start_build(conn, Letters))
    await go_on(operator, filling, until)
    return filling


async def go_on(operator: Operator, filling: BuildWriter, until: int) -> None:
    messages = await operator.log.read(subjects.all_of(MESSAGING))
    await filling.apply(MESSAGING, [message for message in messages if message.sequence <= until], until)


async def test_a_discard_reaches_a_build_that_has_not_come_to_the_event_yet(
    database_url: str, writer: Writer, run: Opened, operator: Operator, mend: Mend
) -> None:
    runners = await run(Letters)
    fine, bad = conversation_ids(2)
    before = await writer.say(fine, "x", "y")
    last = await writer.say(bad, POISON, "b")
    await applied(runners, last)
    conn = await connect(database_url, "a rebuild")
    try:
        filling = await half_built(operator, conn, before)
        await operator.discard()
        mend()
        await go_on(operator, filling, last)
    finally:
        await conn.close()
    await operator.rebuild()
    verdict = await operator.verify()
    assert (verdict.equal, verdict.build, verdict.discarded) == (True, filling.build.build, 1)


async def test_a_build_that_begins_in_the_middle_of_a_discard_knows_of_it(
    database_url: str,
    writer: Writer,
    run: Opened,
    pool: Pool,
    operator: Operator,
    mend: Mend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runners = await run(Letters)
    last = await writer.say(conversation_ids(1)[0], POISON, "b")
    await applied(runners, last)
    mend()
    hold = discards.hold
    conn = await connect(database_url, "a rebuild")
    building: list[asyncio.Task[BuildWriter]] = []

    async def slowly(*arguments: object) -> object:
        held = await hold(*arguments)  # type: ignore[arg-type]  # whatever it is given
        building.append(asyncio.create_task(half_built(operator, conn, last)))
        # It is added before the discard is done, or waits for that: as soon as either can be told.
        async with asyncio.timeout(60):
            while not building[0].done() and not await is_waiting(pool):
                await asyncio.sleep(0.01)
        return held

    monkeypatch.setattr(discards, "hold", slowly)
    try:
        await operator.discard()
        await building[0]
    finally:
        await conn.close()
    await operator.rebuild()
    verdict = await operator.verify()
    assert (verdict.equal, verdict.build, verdict.discarded) == (True, 2, 1)


async def is_waiting(pool: Pool) -> bool:
    async with pool.connection() as conn:
        cursor = await conn.execute(
            "SELECT FROM pg_stat_activity WHERE application_name = 'a rebuild' AND wait_event_type = 'Lock'"
        )
        return cursor.rowcount == 1


async def test_an_event_that_a_build_has_applied_is_not_discarded(
    database_url: str, writer: Writer, run: Opened, operator: Operator, mend: Mend
) -> None:
    runners = await run(Letters)
    last = await writer.say(conversation_ids(1)[0], POISON, "b")
    await applied(runners, last)
    mend()
    conn = await connect(database_url, "a rebuild")
    try:
        await half_built(operator, conn, last)
        with pytest.raises(AppliedElsewhere):
            await operator.discard()
    finally:
        await conn.close()
    assert [letter.state for letter in await operator.letters()] == ["failed", "parked"]
    await operator.rebuild()
    assert await operator.letters() == []
    assert (await operator.verify()).equal


async def test_a_rebuild_begins_with_no_dead_letters_and_fails_again(
    writer: Writer, run: Opened, operator: Operator, mend: Mend
) -> None:
    runners = await run(Letters)
    await applied(runners, await writer.say(conversation_ids(1)[0], POISON, "b"))
    before = await operator.failed()
    assert (await operator.rebuild()).dead_letters == 2
    after = await operator.failed()
    assert (after.build, after.sequence, after.waiting) == (before.build + 1, before.sequence, 1)
    with pytest.raises(BuildGone):
        await resolution.retryable_letter(operator.conn, before.id)
    with pytest.raises(BuildGone):
        await resolution.retry(operator.conn, operator.log, Letters, before)
    mend()
    assert (await operator.rebuild()).dead_letters == 0
    assert await operator.letters() == []


async def test_what_cannot_be_settled_is_refused_with_its_reason(
    writer: Writer, run: Opened, operator: Operator
) -> None:
    class Newer(Letters):
        name = "letters"
        version = 2

    runners = await run(Letters)
    await applied(runners, await writer.say(conversation_ids(1)[0], POISON, "b"))
    failed, parked = await operator.letters()
    with pytest.raises(BlockedByEarlier, match=str(failed.id)):
        await resolution.retryable_letter(operator.conn, parked.id)
    with pytest.raises(NoSuchLetter):
        await resolution.retryable_letter(operator.conn, failed.id._replace(sequence=99))
    with pytest.raises(NoSuchLetter, match="build 7 of version 1 does not exist"):
        await resolution.retryable_letter(operator.conn, failed.id._replace(build=7))
    with pytest.raises(OtherVersion):
        await resolution.retry(operator.conn, operator.log, Newer, failed)
    assert (failed.waiting, parked.waiting, parked.head) == (1, None, failed.id)


async def test_letters_are_listed_by_type_state_and_aggregate(writer: Writer, run: Opened, operator: Operator) -> None:
    runners = await run(Letters)
    one, other = conversation_ids(2)
    await writer.say(one, POISON, "b")
    await applied(runners, await writer.say(other, POISON))
    assert [letter.subject for letter in await operator.letters(aggregate_id=other)] == [subjects.conversation(other)]
    assert len(await operator.letters(state="failed")) == 2
    assert len(await operator.letters(event_type="message.sent")) == 3
    assert await operator.letters(event_type="message.seen") == []
    # No pattern, but the very text.
    assert await operator.letters(aggregate_id="%") == []


async def test_an_event_that_is_no_event_waits_and_is_discarded(
    streams: Client, writer: Writer, run: Opened, pool: Pool, operator: Operator
) -> None:
    runners = await run(Letters)
    (bad,) = conversation_ids(1)
    await writer.say(bad, "a")
    garbage = await streams.jetstream().publish(subjects.conversation(bad), b"\x00 no event")
    writer.moved(subjects.conversation(bad), garbage.seq)
    await applied(runners, await writer.say(bad, "b"))
    letter = await operator.discard()
    assert (letter.type, letter.waiting) == ("?", 1)
    assert await texts(pool, runners, bad) == ["a", "b"]
    assert (await operator.verify()).equal


class OneKey:
    def __init__(self) -> None:
        self.key = AESGCM(cipher.new_key())

    async def find(self, key_ids: set[str], /) -> dict[str, AESGCM | None]:
        return dict.fromkeys(key_ids, self.key)


async def test_an_event_that_its_key_does_not_decipher_waits_alone_until_it_does(
    streams: Client, writer: Writer, run: Opened, pool: Pool, operator: Operator
) -> None:
    keys, right = OneKey(), AESGCM(cipher.new_key())
    unseal_with(streams, Unsealer(keys))
    runners = await run(Letters)
    bad, good = conversation_ids(2)
    await writer.say(bad, "a")
    hidden = cast(str, cipher.seal(right, "k", "message.sent/text", "hidden"))
    await writer.append(subjects.conversation(bad), sent(hidden, 2))
    await writer.say(bad, "c")
    await applied(runners, await writer.say(good, "b"))
    letter = await operator.failed()
    assert (letter.type, letter.waiting) == ("message.sent", 1)
    assert "is sealed" in letter.reason
    assert await texts(pool, runners, good) == ["b"]
    keys.key = right
    await operator.retry()
    assert await texts(pool, runners, bad) == ["a", "hidden", "c"]


async def test_a_poison_event_amid_many_stops_its_own_aggregate_alone(
    writer: Writer, run: Opened, operator: Operator, mend: Mend
) -> None:
    conversations = conversation_ids(20)
    await writer.fill(conversations, 500)
    await writer.say(conversations[7], POISON)
    last = await writer.fill(conversations, 500)
    runners = await run(Letters)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), 60)
    assert len(await operator.letters(state="parked")) == 500
    assert (await operator.verify()).equal
    mend()
    (retried,) = await operator.retry()
    assert (retried.outcome, retried.applied) == ("applied", 501)
    verdict = await operator.verify()
    assert (verdict.equal, verdict.events, verdict.dead_letters) == (True, 20_001, 0)


class Claims(Projection):
    streams = (subjects.AUTH,)
    tables = "CREATE TABLE {claims} (email text PRIMARY KEY CHECK (email NOT LIKE '%secret%'), day date)"

    @handles(EmailClaimed)
    def claimed(self, event: Recorded[EmailClaimed], write: RowChanges) -> None:
        write.upsert("claims", key={"email": event.data.email}, set={"day": event.data.username})


async def test_no_error_contains_data_of_a_private_event(writer: Writer, run: Opened, operator: Operator) -> None:
    runners = await run(Claims)
    soon = datetime(2027, 1, 1, tzinfo=UTC)
    for email, name in (("secret@example.org", "2026-01-01"), ("a@example.org", "secret"), (["secret"], "2026-01-01")):
        claim = EmailClaimed(user_id=new_id(), email=email, username=name, expires_at=soon)  # type: ignore[arg-type]  # one is wrong
        last = await writer.append(subjects.email_claim(new_id()), claim)
    await runners.waiting.wait(Claims, Position.at(subjects.AUTH, last), 60)
    reasons = [letter.reason for letter in await operator.letters()]
    assert len(reasons) == 3
    assert "claims_v1_b1_email_check" in reasons[0]
    assert not [reason for reason in reasons if "secret" in reason]


async def test_the_reason_does_not_contain_the_refused_row(writer: Writer, run: Opened, operator: Operator) -> None:
    runners = await run(Letters)
    await applied(runners, await writer.say(conversation_ids(1)[0], "poison for the table"))
    reason = (await operator.failed()).reason
    assert "check constraint" in reason
    assert "poison" not in reason


async def test_the_log_of_the_database_does_not_contain_the_refused_row(
    writer: Writer, run: Opened, operator: Operator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    runners = await run(Letters)
    await applied(runners, await writer.say(conversation_ids(1)[0], "poison for the table"))
    await operator.failed()
    [log] = tmp_path_factory.getbasetemp().glob("postgres[0-9]/server.log")
    lines = log.read_text()
    assert "violates check constraint" in lines
    assert "poison for the table" not in lines


async def test_events_applied_before_the_connection_was_lost_are_reported(
    writer: Writer, run: Opened, pool: Pool, operator: Operator, mend: Mend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolution, "PAGE", 2)
    runners = await run(Letters)
    bad = conversation_ids(3)
    for conversation in bad:
        last = await writer.say(conversation, POISON, "b", "c")
    await applied(runners, last)
    mend()
    heads = await resolution.first_failures(operator.conn, Letters)
    read, calls = operator.log.read, 0

    async def killing(subject: str, *, after: int, limit: int) -> list[Message]:
        nonlocal calls
        calls += 1
        # At the last page of the second.
        if calls == 4:
            async with pool.connection() as conn:
                await conn.execute("SELECT pg_terminate_backend(%s)", (operator.conn.info.backend_pid,))
        return await read(subject, after=after, limit=limit)

    monkeypatch.setattr(operator.log, "read", killing)
    first, second, third = await retry_all(operator.conn, operator.log, [(Letters, head) for head in heads])
    assert (first.outcome, first.applied, first.left) == ("applied", 3, 0)
    assert (second.outcome, second.applied, second.left) == ("refused", 2, 1)
    assert (third.outcome, third.applied, third.left) == ("refused", 0, 3)
    assert (third.reason or "").startswith("not tried: ")
    assert [await texts(pool, runners, conversation) for conversation in bad] == [[POISON, "b", "c"], [POISON, "b"], []]


async def test_a_discard_is_reported_also_where_the_events_behind_it_cannot_be_tried(
    writer: Writer, run: Opened, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    runners = await run(Letters)
    (bad,) = conversation_ids(1)
    await applied(runners, await writer.say(bad, POISON, "b", "c"))
    letter = await operator.failed()
    await resolution.discard(operator.conn, operator.log, letter, "it was a test", "an operator")

    async def silent(subject: str, *, after: int, limit: int) -> list[Message]:
        raise Unavailable("NATS does not answer.")

    monkeypatch.setattr(operator.log, "read", silent)
    told = await retry_behind(operator.conn, operator.log, Letters, letter)
    assert (told.outcome, told.applied, told.left, told.failed_id) == ("refused", 0, 2, None)
    assert told.reason == "NATS does not answer."


def amid_pages(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """An event that is set when two pages are applied and the third is being read."""
    amid, read, pages = asyncio.Event(), operator.log.read, count(1)

    async def counted(subject: str, *, after: int, limit: int) -> list[Message]:
        if next(pages) == 3:
            amid.set()
        return await read(subject, after=after, limit=limit)

    monkeypatch.setattr(operator.log, "read", counted)
    return amid


async def test_retries_whose_connection_is_killed_apply_every_event_once(
    streams: Client,
    database_url: str,
    writer: Writer,
    run: Opened,
    pool: Pool,
    operator: Operator,
    mend: Mend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolution, "PAGE", 10)
    runners = await run(Letters)
    (bad,) = conversation_ids(1)
    await applied(runners, await writer.say(bad, POISON, *(f"text {number}" for number in range(300))))
    mend()
    killed = 0
    while await operator.letters():
        conn = await connect(database_url, "killed operator")
        to_be_killed = Operator(streams, conn, database_url)
        waiting = asyncio.create_task(amid_pages(to_be_killed, monkeypatch).wait())
        retrying = asyncio.create_task(to_be_killed.retry())
        await asyncio.wait([retrying, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        async with pool.connection() as admin:
            cursor = await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'killed operator'"
            )
            await cursor.fetchall()
        (outcome,) = await asyncio.gather(retrying, return_exceptions=True)
        killed += isinstance(outcome, OperationalError | Interrupted)
        await conn.close()
        # Whatever was left, the aggregate's first is the one that has failed.
        assert (await operator.states(bad))[:1] in (["failed"], [])
    assert killed > 0
    assert len(await texts(pool, runners, bad)) == 301
    assert (await operator.verify()).equal
