"""A retry applies a failed event and those parked after it, each once and in order."""

import asyncio
from typing import cast

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nats.aio.client import Client

from contracts import subjects, upcasts
from contracts.envelope import Recorded
from contracts.positions import Position
from contracts.subjects import MESSAGING
from contracts.values.ids import new_id
from projections.engine import Projection, RowChanges, handles
from projections.engine.dead_letters import resolution
from projections.engine.storage.connections import connect
from streams.personal_data import cipher
from streams.personal_data.reading import unseal_with
from streams.personal_data.unsealer import Unsealer
from tests.fix_older_events import ANNA, GreetingSent, as_stored, sender
from tests.fix_postgres import Pool
from tests.integration.projections import sample_projection
from tests.integration.projections.dead_letters.operator_actions import FixHandler, Operator, applied, texts
from tests.integration.projections.event_writer import Opened, Writer, conversation_ids, sent, until_ready
from tests.integration.projections.sample_projection import POISON, Letters


async def test_a_fixed_event_is_applied_with_those_behind_it_and_the_runner_goes_on_in_order(
    writer: Writer, run: Opened, pool: Pool, operator: Operator, fix_handler: FixHandler
) -> None:
    runners = await run(Letters)
    bad, fine = conversation_ids(2)
    await writer.say(bad, "a", POISON, "b")
    await writer.say(fine, "x")
    await applied(runners, await writer.say(bad, "c"))
    assert await operator.states(bad) == ["failed", "parked", "parked"]
    fix_handler()
    (retried,) = await operator.retry()
    assert (retried.outcome, retried.applied, retried.left) == ("applied", 3, 0)
    # With the very next batch, without a restart, the aggregate is free.
    await applied(runners, await writer.say(bad, "d"))
    assert await texts(pool, runners, bad) == ["a", POISON, "b", "c", "d"]
    assert await operator.dead_letters() == []
    assert (await operator.verify()).equal


async def test_what_fails_again_stays_with_its_new_reason_and_what_came_before_it_is_applied(
    writer: Writer, run: Opened, pool: Pool, operator: Operator, fix_handler: FixHandler
) -> None:
    runners = await run(Letters)
    (bad,) = conversation_ids(1)
    await applied(runners, await writer.say(bad, POISON, "b", "poison for the table", "c"))
    (again,) = await operator.retry()
    assert (again.outcome, again.applied, again.left, again.failed_id) == ("failed", 0, 4, again.id)
    assert (await operator.failed()).attempts == 2
    fix_handler()
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
    monkeypatch.setattr(sample_projection, "POISON", "text 40")
    stop = asyncio.Event()

    async def write() -> tuple[int, int]:
        last = number = 0
        # With an end of its own: the retries need not be quicker than a writer without pauses.
        while number < 400 or not (stop.is_set() or number >= 4_000):
            if number >= 400:
                await asyncio.sleep(0.01)  # events still come all the time, but not as many as the machine can take
            for conversation in (bad, other):
                last = await writer.say(conversation, *(f"text {number + offset}" for offset in range(5)))
            number += 5
        return last, number

    writing = asyncio.create_task(write())
    while not await operator.dead_letters(state="failed"):
        await asyncio.sleep(0.01)
    await operator.retry()
    monkeypatch.setattr(sample_projection, "POISON", "no message says this")
    while await operator.dead_letters(state="failed"):
        await operator.retry()
    stop.set()
    last, number = await writing
    await applied(runners, last)
    assert await operator.retry() == []
    assert await texts(pool, runners, bad) == [f"text {sent}" for sent in range(number)]
    assert (await operator.verify()).equal


async def test_two_retries_at_once_apply_every_event_once(
    streams: Client, database_url: str, writer: Writer, run: Opened, operator: Operator, fix_handler: FixHandler
) -> None:
    runners = await run(Letters)
    bad = conversation_ids(5)
    for conversation in bad:
        last = await writer.say(conversation, POISON, *["text"] * 50)
    await applied(runners, last)
    fix_handler()
    second = await connect(database_url, "another operator")
    try:
        results = await asyncio.gather(operator.retry(), Operator(streams, second, database_url).retry())
    finally:
        await second.close()
    assert sum(retried.applied for result in results for retried in result) == 5 * 51
    assert (await operator.verify()).equal


async def test_a_retry_brings_older_events_to_todays_shape(
    greetings: None, streams: Client, run: Opened, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(upcasts.STEPS, (GreetingSent.TYPE, 1))
    talk = new_id()
    for version, schema in enumerate((1, 3)):
        last = await operator.log.append(as_stored(schema, talk, expected=version, version=version + 1))
    runners = await run(Words)
    await runners.waiting.wait(Words, Position.at(MESSAGING, last), 60)
    assert [dead_letter.state for dead_letter in await operator.dead_letters()] == ["failed", "parked"]
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
    dead_letter = await operator.failed()
    assert (dead_letter.type, dead_letter.waiting) == ("message.sent", 1)
    assert "is sealed" in dead_letter.reason
    assert await texts(pool, runners, good) == ["b"]
    keys.key = right
    await operator.retry()
    assert await texts(pool, runners, bad) == ["a", "hidden", "c"]


async def test_a_poison_event_amid_many_stops_its_own_aggregate_alone(
    writer: Writer, run: Opened, operator: Operator, fix_handler: FixHandler
) -> None:
    conversations = conversation_ids(20)
    await writer.fill(conversations, 500)
    await writer.say(conversations[7], POISON)
    last = await writer.fill(conversations, 500)
    runners = await run(Letters)
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), 60)
    assert len(await operator.dead_letters(state="parked")) == 500
    assert (await operator.verify()).equal
    fix_handler()
    (retried,) = await operator.retry()
    assert (retried.outcome, retried.applied) == ("applied", 501)
    verdict = await operator.verify()
    assert (verdict.equal, verdict.events, verdict.dead_letters) == (True, 20_001, 0)
