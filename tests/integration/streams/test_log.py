"""What an append promises, against a real server."""

import asyncio
from collections.abc import Iterable, Sequence

import msgspec
import pytest
from nats.aio.client import Client
from prometheus_client import REGISTRY

from contracts.errors import Unavailable
from contracts.subjects import MESSAGING, conversation
from infra.embedded.nats_server import NatsServer
from streams.appending.sender import Sender
from streams.jetstream.api import ApiError, JetStream, Refused
from streams.jetstream.client import Client as DirectClient
from streams.jetstream.publish_ack import Ack
from streams.jetstream.raw_message import Delivered
from streams.jetstream.requests import Answer
from streams.log import Append, Conflict, Log
from tests.integration.streams.conftest import SHORT_PATIENCE, append_to, until_noticed
from tests.recording_tracer import SAMPLED, UNSAMPLED, recording


async def test_an_append_on_its_condition_is_stored_and_read_back(log: Log) -> None:
    one = append_to("a")
    first = await log.append(one)
    second = await log.append(append_to("a", expected=first, version=2))
    stored = await log.read(one.subject)
    assert [message.sequence for message in stored] == [first, second] == [1, 2]
    assert stored[0].envelope() == one.envelope
    assert stored[0].stored_at is not None
    assert await log.last(one.subject) == stored[1]
    assert await log.last_sequence(one.subject) == await log.end_of(MESSAGING) == 2


async def test_a_subject_without_events_is_empty(log: Log) -> None:
    assert await log.read(conversation("none")) == []
    assert await log.last(conversation("none")) is None
    assert await log.last_sequence(conversation("none")) == 0
    assert await log.end_of(MESSAGING) == 0


async def test_the_end_of_a_stream_is_unknown_until_there_is_one(nats: Client) -> None:
    assert await JetStream(nats).last_sequence(MESSAGING) is None
    with pytest.raises(Unavailable):
        await Log(nats).end_of(MESSAGING)


async def test_all_requests_over_a_connection_share_one_subscription(streams: DirectClient) -> None:
    await Log(streams).append(append_to("a"))
    shared = len(streams.direct_handlers)
    for _ in range(3):
        assert await JetStream(streams).last_sequence(MESSAGING) == 1
        assert await Log(streams).end_of(MESSAGING) == 1
    assert len(streams.direct_handlers) == shared


async def test_an_append_on_a_stale_condition_conflicts_and_stores_nothing(log: Log) -> None:
    await log.append(append_to("a"))
    with pytest.raises(Conflict) as conflict:
        await log.append(append_to("a"))
    assert conflict.value.subject == conversation("a")
    assert conflict.value.expected == 0
    assert await log.end_of(MESSAGING) == 1


async def test_an_append_on_a_condition_from_the_future_is_never_stored(streams: Client) -> None:
    with pytest.raises(Unavailable):
        await Log(streams, patience=SHORT_PATIENCE).append(append_to("a", expected=7))
    assert await Log(streams).end_of(MESSAGING) == 0


async def test_the_same_event_appended_again_is_stored_once(log: Log) -> None:
    one = append_to("a")
    sequence = await log.append(one)
    assert await log.append(one) == sequence
    await log.append(append_to("a", expected=sequence, version=2))
    assert await log.append(one) == sequence
    assert await log.end_of(MESSAGING) == 2


async def test_the_same_event_appended_at_once_many_times_is_stored_once(log: Log) -> None:
    one = append_to("a")
    assert set(await asyncio.gather(*(log.append(one) for _ in range(50)))) == {1}
    assert await log.end_of(MESSAGING) == 1


async def test_an_event_is_stored_once_also_after_the_servers_window_for_duplicates(nats: Client, log: Log) -> None:
    await _shorten_the_window(nats)
    one = append_to("a")
    sequence = await log.append(one)
    await _until_the_window_is_over(nats, one.envelope.id)
    assert await log.append(one) == sequence
    assert [message.event_id() for message in await log.read(one.subject)] == [one.envelope.id]


async def _shorten_the_window(nats: Client) -> None:
    config = (await nats.jetstream().stream_info(MESSAGING)).config.as_dict() | {"duplicate_window": 100_000_000}
    answer = await nats.request(f"$JS.API.STREAM.UPDATE.{MESSAGING}", msgspec.json.encode(config))
    assert b'"error"' not in answer.data


async def _until_the_window_is_over(nats: Client, event_id: str) -> None:
    """The server has forgotten the id when it takes it on another subject."""
    while True:
        answer = await nats.request(conversation("other"), b"{}", headers={"Nats-Msg-Id": event_id})
        if not msgspec.json.decode(answer.data).get("duplicate"):
            return


async def test_of_many_writers_on_one_condition_exactly_one_wins(log: Log) -> None:
    for expected in range(20):
        results = await asyncio.gather(
            *(log.append(append_to("a", expected=expected, version=expected + 1)) for _ in range(10)),
            return_exceptions=True,
        )
        assert sum(isinstance(result, int) for result in results) == 1
        assert sum(isinstance(result, Conflict) for result in results) == 9
    assert [message.envelope().version for message in await log.read(conversation("a"))] == list(range(1, 21))


async def test_a_batch_is_stored_whole_with_dense_sequences(log: Log) -> None:
    await log.append(append_to("other"))
    batch = [append_to("a"), append_to("b"), append_to("a", version=2), append_to("c")]
    assert await log.append_together(batch) == [2, 3, 4, 5]
    assert [message.envelope().version for message in await log.read(conversation("a"))] == [1, 2]
    assert await log.last_sequence(conversation("c")) == 5


async def test_a_batch_with_one_stale_condition_stores_nothing(log: Log) -> None:
    await log.append(append_to("c"))
    for batch in (
        [append_to("a"), append_to("b"), append_to("c")],
        [append_to("c"), append_to("a"), append_to("b")],
        [append_to("a"), append_to("c"), append_to("c", version=2)],
    ):
        with pytest.raises(Conflict) as conflict:
            await log.append_together(batch)
        assert conflict.value.subject == conversation("c")
    assert await log.end_of(MESSAGING) == 1


async def test_it_is_heard_why_a_message_of_a_batch_is_refused(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = [append_to("a"), append_to("b"), append_to("c")]
    headers = Sender.headers

    def misled(self: Sender, append: Append, *, conditional: bool = True) -> dict[str, str]:
        named = headers(self, append, conditional=conditional)
        return named | ({"Nats-Expected-Stream": "ANOTHER"} if append is batch[1] else {})

    monkeypatch.setattr(Sender, "headers", misled)
    with pytest.raises(Refused, match="expected stream does not match"):
        await log.append_together(batch)
    assert await log.end_of(MESSAGING) == 0


async def test_a_refused_batch_that_is_sent_again_to_hear_why_takes_no_longer_for_it(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeouts: list[float] = []

    async def slow(appends: Sequence[Append], timeout: float, *, answered: bool = False) -> Ack:
        timeouts.append(timeout)
        await asyncio.sleep(0.2)
        return Ack(error=ApiError(400, 10176, "batch publish is incomplete and was abandoned"))

    sender = log._appender._sender
    monkeypatch.setattr(sender, "batch", slow)
    await sender.together([append_to("a"), append_to("b")], 60.0)
    first, again = timeouts
    assert first == 60.0
    assert again <= 60.0 - 0.2
    await sender.together([append_to("c"), append_to("d")], 0.1)
    assert timeouts[2:] == [0.1], "and there is none where no time is left"


async def test_of_a_batch_only_the_end_is_answered(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[bytes] = []
    take = Answer.take

    def noted(self: Answer, message: Delivered) -> None:
        answers.append(message.data)
        take(self, message)

    monkeypatch.setattr(Answer, "take", noted)
    await log.append_together([append_to(str(number)) for number in range(50)])
    assert len(answers) == 1


async def test_a_batch_sent_again_is_stored_once(log: Log) -> None:
    batch = [append_to("a"), append_to("b"), append_to("a", version=2)]
    assert await log.append_together(batch) == [1, 2, 3]
    assert await log.append_together(batch) == [1, 2, 3]
    assert await log.end_of(MESSAGING) == 3


def batches_of_three(names: range) -> list[list[Append]]:
    return [[append_to(str(name), version=version) for version in (1, 2, 3)] for name in names]


async def stored_as_acknowledged(log: Log, appends: list[Append], sequences: object) -> None:
    assert isinstance(sequences, list)
    assert sequences == [*range(sequences[0], sequences[0] + len(appends))]
    stored = await log.read(appends[0].subject)
    assert [message.sequence for message in stored] == sequences
    assert [message.envelope().id for message in stored] == [append.envelope.id for append in appends]


async def test_several_events_on_one_subject_share_a_batch_with_others(streams: Client, log: Log) -> None:
    appends = batches_of_three(range(40))
    results = await asyncio.gather(*(log.append_together(batch) for batch in appends))
    for batch, sequences in zip(appends, results, strict=True):
        await stored_as_acknowledged(log, batch, sequences)
    js = streams.jetstream()
    headers = [(await js.get_msg(MESSAGING, sequence)).headers or {} for sequence in range(1, 121)]
    assert len({message_headers["Nats-Batch-Id"] for message_headers in headers}) < 20
    # All of them again, long after: stored once.
    assert await asyncio.gather(*(log.append_together(batch) for batch in appends)) == results
    assert await log.end_of(MESSAGING) == 120


async def test_of_several_that_share_a_batch_a_stale_one_is_refused_alone(log: Log) -> None:
    await log.append_together([append_to("stale"), append_to("stale", version=2)])
    appends = batches_of_three(range(40))
    results = await asyncio.gather(
        *(log.append_together(batch) for batch in appends[:20]),
        log.append_together([append_to("stale", expected=1, version=2), append_to("stale", version=3)]),
        *(log.append_together(batch) for batch in appends[20:]),
        return_exceptions=True,
    )
    assert isinstance(results.pop(20), Conflict)
    for batch, sequences in zip(appends, results, strict=True):
        await stored_as_acknowledged(log, batch, sequences)
    assert await log.end_of(MESSAGING) == 122


async def test_of_two_batches_over_the_same_aggregates_one_wins_whole(log: Log) -> None:
    for number in range(20):
        names = [f"{number}-{name}" for name in ("a", "b", "c")]
        results = await asyncio.gather(
            log.append_together([append_to(name) for name in names]),
            log.append_together([append_to(name) for name in reversed(names)]),
            return_exceptions=True,
        )
        assert sorted(type(result).__name__ for result in results) == ["Conflict", "list"]
    assert await log.end_of(MESSAGING) == 60


async def test_a_batch_of_one_and_of_none(log: Log) -> None:
    assert await log.append_together([]) == []
    assert await log.append_together([append_to("a")]) == [1]


async def test_a_batch_that_cannot_be_is_refused_before_it_is_sent(log: Log) -> None:
    with pytest.raises(ValueError, match="one stream"):
        await log.append_together([append_to(str(number)) for number in range(1_001)])
    elsewhere = msgspec.structs.replace(append_to("a"), subject="vestnik.auth.user.1")
    with pytest.raises(ValueError, match="one stream"):
        await log.append_together([append_to("a"), elsewhere])
    assert await log.end_of(MESSAGING) == 0


async def test_the_largest_batch_is_stored(log: Log) -> None:
    sequences = await log.append_together([append_to(str(number)) for number in range(1_000)])
    assert sequences == list(range(1, 1_001))


async def test_a_long_aggregate_is_read_whole_and_from_a_sequence(log: Log) -> None:
    await log.append_together([append_to("a", version=version) for version in range(1, 701)])
    await log.append(append_to("b"))
    assert [message.sequence for message in await log.read(conversation("a"))] == list(range(1, 701))
    assert [message.sequence for message in await log.read(conversation("a"), after=650)] == list(range(651, 701))
    assert [message.sequence for message in await log.read(conversation("a"), after=4, limit=2)] == [5, 6]
    assert await log.read(conversation("a"), after=700) == []


async def test_an_event_larger_than_the_server_takes_is_refused_at_once(log: Log) -> None:
    with pytest.raises(ValueError, match="limit"):
        await log.append(append_to("a", text="x" * 1_100_000))


async def test_without_a_server_an_append_is_unavailable_after_its_patience(
    streams: Client, nats_server: NatsServer
) -> None:
    await Log(streams).append(append_to("a"))
    log = Log(streams, patience=SHORT_PATIENCE)
    await nats_server.stop()
    await until_noticed(streams)
    with pytest.raises(Unavailable):
        await log.append(append_to("b"))
    with pytest.raises(Unavailable):
        await log.last(conversation("a"))
    await nats_server.start()
    assert await Log(streams).append(append_to("b")) == 2


async def test_without_a_stream_an_append_is_unavailable(nats: Client) -> None:
    with pytest.raises(Unavailable):
        await Log(nats, patience=SHORT_PATIENCE).append(append_to("a"))


async def test_on_a_closed_connection_everything_fails_at_once(streams: Client) -> None:
    log = Log(streams, patience=60)
    await log.append(append_to("a"))
    await streams.close()
    # Of its patience nothing is needed.
    async with asyncio.timeout(30):
        with pytest.raises(Unavailable):
            await log.append(append_to("b"))
        with pytest.raises(Unavailable):
            await log.read(conversation("a"))


async def _batched(streams: Client, sequences: Iterable[int]) -> int:
    """The number of stored messages that were appended in a batch."""
    js = streams.jetstream()
    headers = [(await js.get_msg(MESSAGING, sequence)).headers or {} for sequence in sequences]
    return sum("Nats-Batch-Id" in message_headers for message_headers in headers)


async def test_many_appends_at_once_share_batches_and_are_stored_as_if_alone(log: Log, streams: Client) -> None:
    appends = [append_to(f"shared-{number}") for number in range(64)]
    sequences = await asyncio.gather(*map(log.append, appends))
    assert sorted(sequences) == list(range(1, 65))
    for append, sequence in zip(appends, sequences, strict=True):
        (stored,) = await log.read(append.subject)
        assert (stored.sequence, stored.event_id()) == (sequence, append.envelope.id)
    assert await _batched(streams, sequences) > 32
    # Repeated, each has the sequence that it had.
    assert await asyncio.gather(*map(log.append, appends)) == sequences


async def test_a_stale_condition_among_many_at_once_is_a_conflict_of_its_own_alone(log: Log) -> None:
    await log.append(append_to("stale"))
    appends = [append_to(f"fresh-{number}") for number in range(40)] + [append_to("stale")]
    *stored, refused = await asyncio.gather(*map(log.append, appends), return_exceptions=True)
    assert isinstance(refused, Conflict)
    assert sorted(sequence for sequence in stored if isinstance(sequence, int)) == list(range(2, 42))


async def test_many_events_of_one_aggregate_sent_at_once_have_one_winner(log: Log) -> None:
    outcomes = await asyncio.gather(*(log.append(append_to("one")) for _ in range(50)), return_exceptions=True)
    assert sum(isinstance(outcome, int) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 49
    assert len(await log.read(conversation("one"))) == 1


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"vestnik_log_{name}", {"stream": MESSAGING, **labels}) or 0.0


async def test_appends_are_counted_by_what_became_of_them(log: Log) -> None:
    names = ("events_appended_total", "append_duration_seconds_count", "conflicts_total")
    before = [counted(name) for name in names]
    refused = counted("append_failures_total", error="ValueError")
    await log.append(append_to("a"))
    await log.append_together([append_to("b"), append_to("c")])
    with pytest.raises(Conflict):
        await log.append(append_to("a"))
    with pytest.raises(ValueError):
        await log.append_together([append_to(f"d{number}") for number in range(1_001)])
    assert [counted(name) - earlier for name, earlier in zip(names, before, strict=True)] == [3, 2, 1]
    # What was not tried is no failure of the log's.
    assert counted("append_failures_total", error="ValueError") == refused


async def test_concurrent_appends_that_shared_a_batch_are_counted_with_its_events(log: Log) -> None:
    before = counted("batch_events_count"), counted("batch_events_sum")
    await asyncio.gather(*(log.append(append_to(f"a{number}")) for number in range(200)))
    batches, events = counted("batch_events_count") - before[0], counted("batch_events_sum") - before[1]
    assert 0 < batches < events <= 200


def traced(append: Append, traceparent: str | None) -> Append:
    envelope = msgspec.structs.replace(append.envelope, traceparent=traceparent)
    return msgspec.structs.replace(append, envelope=envelope)


async def test_an_append_has_a_span_if_its_trace_is_sampled(log: Log) -> None:
    with recording() as spans:
        await log.append(traced(append_to("a"), SAMPLED))
        await log.append(traced(append_to("b"), UNSAMPLED))
        await log.append(traced(append_to("c"), None))
        with pytest.raises(Conflict):
            await log.append_together([traced(append_to("a"), SAMPLED), append_to("a", version=2)])
    stored, refused = spans
    assert [(span.name, span.parent, span.error) for span in spans] == [
        (f"append {MESSAGING}", SAMPLED, ""),
        (f"append {MESSAGING}", SAMPLED, "Conflict"),
    ]
    assert stored.attributes["messaging.destination.name"] == MESSAGING
    assert (stored.attributes | refused.attributes)["messaging.batch.message_count"] == 2


async def test_appends_that_share_a_batch_have_spans_of_their_own_that_are_linked(log: Log) -> None:
    appends = [[traced(event, SAMPLED) for event in batch] for batch in batches_of_three(range(40))]
    with recording() as spans:
        await asyncio.gather(*(log.append_together(batch) for batch in appends))
    assert len(spans) == 40
    assert {(span.error, span.attributes["messaging.batch.message_count"]) for span in spans} == {("", 3)}
    by_traceparent = {span.traceparent: span for span in spans}
    shared = [span for span in spans if span.links]
    assert len(shared) > 10
    for span in shared:
        [first] = span.links
        assert by_traceparent[first].links == []
        assert (
            span.attributes["vestnik.append.batch_events"]
            == by_traceparent[first].attributes["vestnik.append.batch_events"]
        )


async def test_an_append_with_the_events_of_several_requests_has_a_span_in_the_trace_of_each(log: Log) -> None:
    other = SAMPLED.replace("a", "e")
    parents = (SAMPLED, other, UNSAMPLED, other, None)
    with recording() as spans:
        await log.append_together(
            [traced(append_to("a", version=version), parent) for version, parent in enumerate(parents, 1)]
        )
    assert [(span.parent, span.error) for span in spans] == [(SAMPLED, ""), (other, "")]
    assert spans[1].links == [spans[0].traceparent]
