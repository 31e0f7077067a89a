"""Messages to a consumer that cannot be read."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

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
