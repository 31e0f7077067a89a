"""Restored events get their original sequences, without side effects."""

import msgspec
import pytest
from nats.aio.client import Client

from contracts.errors import OutOfSpace, Unavailable
from contracts.subjects import MESSAGING, conversation
from infra.embedded.nats_server import NatsServer
from streams.jetstream.api import JetStream
from streams.log import Log
from streams.restore import ArchivedMessage, IdTaken, SequenceMismatch, StreamRestorer, kept_headers, last_of_batch
from streams.topology import settings_of
from tests.integration.streams.conftest import SHORT_PATIENCE, append_to, until_noticed


def kept(number: int, event_id: str | None = None) -> ArchivedMessage:
    return ArchivedMessage(
        conversation(str(number)), f'{{"n":{number}}}'.encode(), {"Nats-Msg-Id": event_id or f"id-{number}"}
    )


def events(first: int, last: int) -> list[ArchivedMessage]:
    return [kept(number) for number in range(first, last + 1)]


async def stored(nats: Client) -> list[ArchivedMessage]:
    jetstream = JetStream(nats)
    end = (await jetstream.info(MESSAGING)).state.last_seq
    messages = [await jetstream.at(MESSAGING, sequence) for sequence in range(1, end + 1)]
    return [
        ArchivedMessage(message.subject, message.payload, kept_headers(message.headers))
        for message in messages
        if message is not None
    ]


async def test_events_are_stored_one_behind_the_other_with_their_own_headers(streams: Client) -> None:
    restoring = StreamRestorer(streams, MESSAGING)
    await restoring.put(1, events(1, 1))
    await restoring.put(2, events(2, 20))
    assert await stored(streams) == events(1, 20)


async def test_what_is_put_again_is_not_stored_again(streams: Client) -> None:
    restoring = StreamRestorer(streams, MESSAGING)
    for _ in range(2):
        await restoring.put(1, events(1, 10))
        await restoring.put(11, events(11, 11))
    assert await stored(streams) == events(1, 11)


@pytest.mark.parametrize(("first", "last"), [(3, 3), (3, 8), (12, 12), (12, 14)])
async def test_an_event_goes_to_its_place_or_nowhere(streams: Client, first: int, last: int) -> None:
    restoring = StreamRestorer(streams, MESSAGING)
    await restoring.put(1, events(1, 10))
    with pytest.raises(SequenceMismatch):
        await restoring.put(first, [kept(100 + number) for number in range(first, last + 1)])
    assert await stored(streams) == events(1, 10)


async def test_a_sequence_that_is_taken_is_named(streams: Client) -> None:
    await Log(streams).append(append_to("a"))
    with pytest.raises(SequenceMismatch, match="event 1 of MESSAGING"):
        await StreamRestorer(streams, MESSAGING).put(1, events(1, 5))


@pytest.mark.parametrize("last", [11, 13])
async def test_an_id_that_the_stream_has_already_is_an_error_and_nothing_is_stored(streams: Client, last: int) -> None:
    restoring = StreamRestorer(streams, MESSAGING)
    await restoring.put(1, events(1, 10))
    twice = [kept(number, "id-4") if number == last else kept(number) for number in range(11, last + 1)]
    with pytest.raises(IdTaken, match="from event 11 of MESSAGING on"):
        await restoring.put(11, twice)
    assert await stored(streams) == events(1, 10)


async def test_an_unreachable_server_is_an_error_after_a_wait(streams: Client, nats_server: NatsServer) -> None:
    nats_server.kill()
    await nats_server.wait()
    await until_noticed(streams)
    restoring = StreamRestorer(streams, MESSAGING, patience=SHORT_PATIENCE)
    with pytest.raises(Unavailable):
        await restoring.put(1, events(1, 3))
    await nats_server.start()
    await StreamRestorer(streams, MESSAGING).put(1, events(1, 3))
    assert await stored(streams) == events(1, 3)


async def test_what_was_appended_as_one_is_known_by_its_last_event(streams: Client) -> None:
    await Log(streams).append_together([append_to(name) for name in "abc"])
    await Log(streams).append(append_to("d"))
    messages = [await JetStream(streams).at(MESSAGING, sequence) for sequence in range(1, 5)]
    assert [last_of_batch(message.headers) for message in messages if message is not None] == [False, False, True, True]


async def test_a_store_without_space_is_a_clear_word_and_nothing_is_stored(nats: Client) -> None:
    settings = settings_of(MESSAGING, replicas=1) | {"max_bytes": 20_000}
    await nats.request(f"$JS.API.STREAM.CREATE.{MESSAGING}", msgspec.json.encode(settings))
    restoring = StreamRestorer(nats, MESSAGING)
    large = [msgspec.structs.replace(event, payload=b"x" * 1_000) for event in events(1, 30)]
    with pytest.raises(OutOfSpace, match="no space"):
        await restoring.put(1, large)
    assert await stored(nats) == []
    await restoring.put(1, large[:5])
    assert await stored(nats) == large[:5]
