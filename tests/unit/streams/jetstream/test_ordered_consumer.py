"""What a consumer makes of messages that cannot be read, and of reports that it has nothing more to receive."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from streams.jetstream import ordered_consumer
from streams.jetstream.api import JetStream
from streams.jetstream.ordered_consumer import Broken, Consumer
from streams.jetstream.raw_message import Delivered


class Connection(SimpleNamespace):
    def __init__(self) -> None:
        super().__init__(stats={"reconnects": 0}, is_closed=False, max_payload=1_048_576)

    def new_inbox(self) -> str:
        return "_INBOX.a"

    async def publish(self, *_: object, **__: object) -> None:
        pass


@pytest.mark.parametrize(
    "message",
    [
        Delivered("s", "$JS.ACK.S.c", b""),
        Delivered("s", "$JS.ACK.S.c.1.one.1.0.0", b""),
        Delivered("_INBOX.a", "", b"", {"Status": "100", "Description": "Idle Heartbeat"}),
        Delivered("_INBOX.a", "", b"", {"Status": "408", "Description": "Request Timeout"}),
        Delivered("_INBOX.a", "", b"", None),
    ],
    ids=["short", "no number", "heartbeat", "expired", "empty"],
)
async def test_a_message_that_cannot_be_read_breaks_the_consumer(message: Delivered) -> None:
    """Its reader begins again after the last message that it has."""
    connection = cast(Any, Connection())
    consumer = Consumer(connection, JetStream(connection), "S", None, name="n", buffer=10)
    consumer._take(message)
    with pytest.raises(Broken):
        await consumer.receive(10, patience=0.1)


class Creation(SimpleNamespace):
    """Answers the creation of a consumer."""

    def __init__(self, pending: int) -> None:
        super().__init__(answer=SimpleNamespace(num_pending=pending))

    async def ask(self, *_: object) -> object:
        return self.answer


async def created(monkeypatch: pytest.MonkeyPatch, *, pending: int, exact: bool) -> Consumer:
    """A consumer that begins after 1 in a stream that ends at 9."""

    async def subscribe(*_: object, **__: object) -> None:
        pass

    monkeypatch.setattr(ordered_consumer, "subscribe_direct", subscribe)
    connection, jetstream = cast(Any, Connection()), cast(Any, Creation(pending))
    consumer = Consumer(connection, jetstream, "S", "s.*", name="n", buffer=10)
    await consumer.start(1, end=9, exact=exact)
    return consumer


async def pending_after(consumer: Consumer, *messages: Delivered) -> int:
    for message in messages:
        consumer._take(message)
    await consumer.receive(10, patience=0.0)
    return consumer.pending


def heartbeat(*, sent: int, position: int) -> Delivered:
    headers = {"Description": "Idle Heartbeat", "Nats-Last-Consumer": str(sent), "Nats-Last-Stream": str(position)}
    return Delivered("_INBOX.a", "", b"", {"Status": "100", **headers})


def message(sequence: int, *, own: int, pending: int) -> Delivered:
    return Delivered("s.a", f"$JS.ACK.S.c.1.{sequence}.{own}.0.{pending}", b"")


async def test_a_heartbeat_before_the_first_message_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = await created(monkeypatch, pending=2, exact=True)
    assert await pending_after(consumer, heartbeat(sent=0, position=1)) == 2
    assert await pending_after(consumer, message(4, own=1, pending=1), message(7, own=2, pending=0)) == 0


async def test_messages_that_were_counted_and_are_gone_do_not_keep_it_from_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    consumer = await created(monkeypatch, pending=2, exact=True)
    assert await pending_after(consumer, message(4, own=1, pending=1), heartbeat(sent=1, position=9)) == 0


async def test_a_node_that_may_lag_is_at_the_end_when_it_has_come_to_what_was_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    consumer = await created(monkeypatch, pending=0, exact=False)
    assert consumer.pending
    assert await pending_after(consumer, message(4, own=1, pending=0))
    assert await pending_after(consumer, heartbeat(sent=1, position=8))
    assert await pending_after(consumer, heartbeat(sent=1, position=9)) == 0
