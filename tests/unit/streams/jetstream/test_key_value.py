"""Answers to a bucket's client that cannot be read."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from contracts.errors import Unavailable
from streams.jetstream.key_value import KeyValue
from streams.jetstream.raw_message import Delivered
from tests.unit.streams.jetstream.inbox import Inbox

END = Delivered("r", "", b"", {"Status": "204", "Description": "EOB"})


def bucket(*answers: Delivered) -> KeyValue:
    key_value = KeyValue(cast(Any, SimpleNamespace()), "keys")
    key_value._inbox = cast(Any, Inbox(*answers))
    return key_value


@pytest.mark.parametrize("data", [b"", b'{"stream":"KV_keys","se', b"{}"], ids=["empty", "truncated", "no sequence"])
async def test_a_write_without_an_acknowledgement_may_not_be_stored(data: bytes) -> None:
    key_value = bucket(Delivered("r", "", data))
    with pytest.raises(Unavailable):
        await key_value.put("a", b"value")
    with pytest.raises(Unavailable):
        await key_value.put_if("a", b"value", revision=0)
    with pytest.raises(Unavailable):
        await key_value.delete("a")


async def test_a_value_without_its_headers_is_no_value() -> None:
    with pytest.raises(Unavailable):
        await bucket(Delivered("r", "", b"value", {"Nats-Sequence": "1"}), END).get_many(["a"])
    with pytest.raises(Unavailable):
        await bucket(Delivered("r", "", b"value"), END).get_many(["a"])
