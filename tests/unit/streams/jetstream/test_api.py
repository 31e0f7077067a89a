"""Answers of the JetStream API that cannot be read."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from streams.jetstream.api import JetStream
from streams.jetstream.raw_message import Delivered
from streams.jetstream.requests import NoAnswer
from tests.unit.streams.jetstream.inbox import Inbox

FOUND = {
    "Nats-Sequence": "3",
    "Nats-Last-Sequence": "1",
    "Nats-Subject": "s",
    "Nats-Time-Stamp": "2026-12-02T00:00:00Z",
}
END = Delivered("r", "", b"", {"Status": "204", "Description": "EOB"})


def jetstream(*answers: Delivered) -> JetStream:
    api = JetStream(cast(Any, SimpleNamespace()))
    api.inbox = cast(Any, Inbox(*answers))
    return api


@pytest.mark.parametrize("data", [b"", b'{"config":', b"{}", b'{"config":1}', b"null", b"\xff"])
async def test_an_answer_that_cannot_be_read_is_none(data: bytes) -> None:
    api = jetstream(Delivered("r", "", data))
    with pytest.raises(NoAnswer):
        await api.info("S")
    with pytest.raises(NoAnswer):
        await api.last("S", "s")


@pytest.mark.parametrize("missing", ["Nats-Sequence", "Nats-Subject", "Nats-Time-Stamp"])
async def test_a_message_without_its_headers_is_no_answer(missing: str) -> None:
    headers = {name: value for name, value in FOUND.items() if name != missing}
    api = jetstream(Delivered("r", "", b"data", headers), END)
    with pytest.raises(NoAnswer):
        await api.many("S", "s", 0)
    if missing != "Nats-Sequence":
        with pytest.raises(NoAnswer):
            await api.link_at("S", 3)


async def test_messages_after_one_that_was_lost_in_transit_are_requested_again() -> None:
    later = FOUND | {"Nats-Sequence": "9", "Nats-Last-Sequence": "5"}
    api = jetstream(Delivered("r", "", b"one", FOUND), Delivered("r", "", b"other", later), END)
    messages, more = await api.many("S", "s", 0)
    assert [message.sequence for message in messages] == [3]
    assert more
