"""The server is killed in full flight: what was acknowledged is there, once and in order."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from nats.aio.client import Client

from contracts.envelope import Provenance, encode
from contracts.errors import DeadlineExceeded, OutOfSpace, Overloaded, Unavailable
from contracts.events.event import Event
from contracts.subjects import MESSAGING, conversation
from infra.embedded.nats_server import NatsServer
from streams.jetstream.api import ApiError, Refused
from streams.jetstream.publish_ack import Ack
from streams.jetstream.raw_message import Delivered
from streams.jetstream.requests import Answer, NoAnswer
from streams.log import Append, Conflict, Log
from streams.message import Message
from streams.reader import Reader
from streams.topology import settings_of
from tests.integration.streams.conftest import SHORT_PATIENCE, append_to, counting, sent

NAMES = [f"conversation-{number}" for number in range(5)]
KILLS = 3
PATIENCE = 60


class Writers:
    """Keeps appending to few aggregates and remembers what was acknowledged."""

    def __init__(self, log: Log) -> None:
        self.acknowledged: dict[str, tuple[str, int]] = {}
        self.errors: list[Exception] = []
        self._repository = counting(log)
        self._log = log
        self.stop = False
        self._more = asyncio.Event()

    async def acknowledge(self, count: int) -> None:
        """Waits until the given number of further appends is acknowledged."""
        goal = len(self.acknowledged) + count
        while len(self.acknowledged) < goal:
            self._more.clear()
            await self._more.wait()

    async def write(self, writer: int) -> None:
        while not self.stop:
            name = NAMES[writer % len(NAMES)]

            def decide(state: int) -> Sequence[Event]:
                return [sent(state + 1, f"{writer}")]

            try:
                outcome = await self._repository.execute(name, decide, Provenance())
            except (Unavailable, DeadlineExceeded) as error:
                self.errors.append(error)
            else:
                self._note(name, outcome.events[0].id, outcome.sequence)

    async def write_batches(self, writer: int) -> None:
        number = 0
        while not self.stop:
            number += 1
            batch = [append_to(f"batch-{writer}-{number}-{index}") for index in range(3)]
            try:
                sequences = await self._log.append_together(batch)
            except (Unavailable, DeadlineExceeded) as error:
                self.errors.append(error)
            else:
                for append, sequence in zip(batch, sequences, strict=True):
                    self._note(append.envelope.aggregate_id, append.envelope.id, sequence)

    def _note(self, name: str, event_id: str, sequence: int) -> None:
        assert event_id not in self.acknowledged
        self.acknowledged[event_id] = (name, sequence)
        self._more.set()


async def test_a_server_killed_in_full_flight_loses_and_doubles_nothing(
    streams: Client, nats_server: NatsServer
) -> None:
    log = Log(streams, patience=20)
    writers = Writers(log)
    running = [asyncio.create_task(writers.write(number)) for number in range(12)]
    running += [asyncio.create_task(writers.write_batches(number)) for number in range(3)]
    async with asyncio.timeout(2 * PATIENCE):
        for _ in range(KILLS):
            await writers.acknowledge(200)
            nats_server.kill()
            await nats_server.start()
        await writers.acknowledge(200)
        writers.stop = True
        await asyncio.gather(*running)
    assert writers.errors == []
    await check_history(streams, log, writers)


async def check_history(nats: Client, log: Log, writers: Writers) -> None:
    end = await log.end_of(MESSAGING)
    stored: dict[str, tuple[str, int]] = {}
    versions: dict[str, int] = {}
    async with Reader(nats, MESSAGING, name="test") as reader:
        async for batch in reader.batches():
            for message in batch.messages:
                envelope = message.envelope()
                assert envelope.id not in stored, "an event stands twice"
                stored[envelope.id] = (envelope.aggregate_id, message.sequence)
                assert envelope.version == versions.get(envelope.aggregate_id, 0) + 1, "versions have a gap"
                versions[envelope.aggregate_id] = envelope.version
            if batch.position >= end:
                break
    assert stored == writers.acknowledged, "acknowledged and stored differ"


async def test_while_the_server_is_away_an_append_waits_and_is_then_stored(
    streams: Client, nats_server: NatsServer
) -> None:
    log = Log(streams, patience=20)
    assert await log.append(append_to("a")) == 1
    nats_server.kill()
    waiting = [asyncio.create_task(log.append(append_to(str(number)))) for number in range(20)]
    batch = asyncio.create_task(log.append_together([append_to("x"), append_to("y")]))
    await nats_server.start()
    assert len(set(await asyncio.gather(*waiting))) == 20
    first, second = await batch
    assert second == first + 1
    assert await log.end_of(MESSAGING) == 23


@pytest.fixture
def losing(streams: Client, monkeypatch: pytest.MonkeyPatch) -> Log:
    """A log to which the first acknowledgement of an append gets lost on its way."""
    monkeypatch.setattr("streams.appending.appender._ATTEMPT", 0.3)
    log = Log(streams)
    lost: list[Delivered] = []
    take = Answer.take

    def lose_one(answer: Answer, message: Delivered) -> None:
        if not lost and b'"seq"' in message.data and b'"message"' not in message.data:
            lost.append(message)
        else:
            take(answer, message)

    monkeypatch.setattr(Answer, "take", lose_one)
    return log


async def test_an_append_whose_answer_was_lost_is_found_and_not_repeated(losing: Log, log: Log) -> None:
    one = append_to("a")
    assert await losing.append(one) == 1
    assert await log.append(append_to("a", expected=1, version=2)) == 2


async def test_a_batch_whose_answer_was_lost_is_found_and_not_repeated(losing: Log, log: Log) -> None:
    assert await losing.append_together([append_to("b"), append_to("c"), append_to("b", version=2)]) == [1, 2, 3]
    assert await log.end_of(MESSAGING) == 3


async def test_a_lost_answer_to_a_conflict_is_a_conflict(streams: Client, losing: Log) -> None:
    answer = await streams.request(conversation("a"), encode(append_to("a").envelope))
    assert b'"seq":1' in answer.data
    with pytest.raises(Conflict):
        await losing.append(append_to("a"))
    assert await losing.end_of(MESSAGING) == 1


async def test_a_command_whose_answer_was_lost_takes_effect_once(losing: Log) -> None:
    outcome = await counting(losing).execute("a", lambda state: [sent(state + 1)], Provenance())
    assert (outcome.version, outcome.sequence) == (1, 1)
    assert await losing.end_of(MESSAGING) == 1


@pytest.mark.parametrize("count", [1, 3])
async def test_an_attempt_that_lands_between_two_looks_is_no_conflict(
    streams: Client, log: Log, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """The server is slow: no answer in time, nothing stored at the first look, all of it just after."""
    appends = [append_to(f"{number}") for number in range(count)]
    slow, look, looks = Log(streams), log._jetstream.next, 0

    async def unanswered(appends: Sequence[Append], timeout: float) -> Ack:
        raise NoAnswer

    async def land_after_the_first(stream: str, subject: str, after: int) -> Message | None:
        nonlocal looks
        message = await look(stream, subject, after)
        looks += 1
        if looks == 1:
            await log.append_together(appends)
        return message

    monkeypatch.setattr(slow._appender._sender, "one", unanswered)
    monkeypatch.setattr(slow._appender._sender, "batch", unanswered)
    monkeypatch.setattr(slow._jetstream, "next", land_after_the_first)
    assert await slow.append_together(appends) == list(range(1, count + 1))


async def test_an_attempt_that_may_have_been_stored_is_not_called_refused_since_space_ran_out(
    streams: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt lands just after the look for it, and takes the last of the space."""
    slow, one, attempts = Log(streams), append_to("a"), 0

    async def send(appends: Sequence[Append], timeout: float) -> Ack:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise NoAnswer
        await log.append(one)
        raise Overloaded

    monkeypatch.setattr(slow._appender._sender, "one", send)
    with pytest.raises(DeadlineExceeded):
        await slow.append(one)
    assert await log.append(one) == 1


@pytest.mark.parametrize("names", ["aaa", "abc"])
async def test_events_of_which_only_the_first_stand_are_not_called_stored(
    streams: Client, log: Log, monkeypatch: pytest.MonkeyPatch, names: str
) -> None:
    """As after a server's machine that lost its power amid a batch which was gathered in memory."""
    appends = [append_to(name, version=names[:index].count(name) + 1) for index, name in enumerate(names)]
    await log.append_together(appends[:2])
    surviving = Log(streams, patience=SHORT_PATIENCE)

    async def unanswered(appends: Sequence[Append], timeout: float) -> Ack:
        raise NoAnswer

    monkeypatch.setattr(surviving._appender._sender, "batch", unanswered)
    with pytest.raises(DeadlineExceeded):
        await surviving.append_together(appends)
    # Nor once they cannot be stored any more.
    with pytest.raises(DeadlineExceeded):
        await Log(streams, patience=SHORT_PATIENCE).append_together(appends)
    assert await log.end_of(MESSAGING) == 2


async def test_an_append_outlasts_a_cluster_without_a_leader(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until one is elected, looking for the event is answered by 10008."""
    look, refusals = log._jetstream.next, 2

    async def leaderless(stream: str, subject: str, after: int) -> Message | None:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise Refused(ApiError(503, 10008, "JetStream system temporarily unavailable"))
        return await look(stream, subject, after)

    first = append_to("a")
    await log.append(first)
    monkeypatch.setattr(log._jetstream, "next", leaderless)
    assert await log.append(first) == 1
    assert refusals == 0


async def test_finding_out_what_became_of_an_append_stays_within_its_patience(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The append was refused as a duplicate, and no server answers where it is stored: the outcome is unknown, not a
    refusal."""
    first = append_to("a")
    await log.append(first)
    impatient = Log(log._jetstream.inbox._nc, patience=0.3)

    async def silent(stream: str, subject: str, after: int) -> Message | None:
        return await asyncio.Future()

    monkeypatch.setattr(impatient._jetstream, "next", silent)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(DeadlineExceeded):
            await impatient.append(first)


async def test_reading_waits_while_a_cluster_has_no_leader(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    await log.append(append_to("a"))
    request, refusals = log._jetstream.inbox.request, 2

    async def leaderless(subject: str, payload: bytes, *, timeout: float) -> Delivered:
        nonlocal refusals
        if refusals:
            refusals -= 1
            return Delivered(subject, "", b'{"error":{"code":503,"err_code":10008,"description":"no leader"}}')
        return await request(subject, payload, timeout=timeout)

    monkeypatch.setattr(log._jetstream.inbox, "request", leaderless)
    assert await log.last_sequence(conversation("a")) == 1
    assert refusals == 0
    refusals = 1_000_000
    impatient = Log(log._jetstream.inbox._nc, patience=0.2)
    monkeypatch.setattr(impatient._jetstream.inbox, "request", leaderless)
    with pytest.raises(Unavailable):
        await impatient.read(conversation("a"))


async def test_a_batch_waits_while_as_many_are_begun_as_the_server_allows(streams: Client, log: Log) -> None:
    async def abandon(number: int) -> None:
        headers = {"Nats-Batch-Id": f"abandoned-{number}", "Nats-Batch-Sequence": "1"}
        # The answer says that the server has dealt with it.
        await streams.request(
            append_to("a").subject, encode(append_to("a").envelope), timeout=PATIENCE, headers=headers
        )

    await asyncio.gather(*map(abandon, range(60)))
    impatient = Log(streams, patience=SHORT_PATIENCE)
    with pytest.raises(Unavailable):
        await impatient.append_together([append_to("b"), append_to("c")])
    assert await log.end_of(MESSAGING) == 0


async def test_a_store_without_space_is_a_clear_word(nats: Client) -> None:
    settings = settings_of(MESSAGING, replicas=1) | {"max_bytes": 20_000}
    await nats.request(f"$JS.API.STREAM.CREATE.{MESSAGING}", msgspec.json.encode(settings))
    log = Log(nats)
    stored = 0

    async def fill_up() -> None:
        nonlocal stored
        while True:
            stored = await log.append(append_to(str(stored), text="x" * 1_000))

    with pytest.raises(OutOfSpace, match="no space"):
        await fill_up()
    with pytest.raises(OutOfSpace, match="no space"):
        await log.append_together([append_to(f"batch-{number}", text="x" * 1_000) for number in range(20)])
    assert 0 < stored == await log.end_of(MESSAGING)
