"""Appends whose acknowledgement is damaged."""

import base64
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from contracts import envelope
from streams.appending.appender import Appender
from streams.batching.append_spans import AppendSpans
from streams.jetstream.api import NO_MESSAGE_FOUND, JetStream
from streams.jetstream.raw_message import Delivered
from tests.integration.streams.conftest import append_to

SEQUENCE = 7


class Store:
    """Stores one event, and answers the append with the given bytes."""

    def __init__(self, acknowledgements: Sequence[bytes]) -> None:
        self._acknowledgements = list(acknowledgements)
        self.stored: bytes | None = None
        self.appends = 0

    async def request(self, subject: str, payload: bytes, **_: object) -> Delivered:
        if subject.startswith("$JS.API."):
            return Delivered("r", "", self._found())
        self.appends += 1
        acknowledgement = self._acknowledgements.pop(0)
        # A damaged answer to an append that is stored.
        self.stored = payload
        return Delivered("r", "", acknowledgement)

    def _found(self) -> bytes:
        if self.stored is None:
            return msgspec.json.encode({"error": {"code": 404, "err_code": NO_MESSAGE_FOUND}})
        data = base64.b64encode(self.stored).decode()
        message = {"subject": "s", "seq": SEQUENCE, "time": "2026-12-02T00:00:00Z", "data": data}
        return msgspec.json.encode({"message": message})


class Watch:
    """A loss watch of a whole stream."""

    def __init__(self) -> None:
        self.known: list[tuple[int, int]] = []

    async def assert_whole(self) -> None:
        return

    def acknowledged(self, first: int, last: int) -> None:
        self.known.append((first, last))


@pytest.mark.parametrize(
    "acknowledgement", [b"", b'{"stream":"S","se', b"{}"], ids=["empty", "truncated", "no sequence"]
)
async def test_the_outcome_is_looked_up(acknowledgement: bytes) -> None:
    store, watch = Store([acknowledgement]), Watch()
    jetstream = JetStream(cast(Any, SimpleNamespace()))
    jetstream.inbox = cast(Any, store)
    appender = Appender(
        jetstream,
        patience=10.0,
        stream_of=lambda _: "S",
        group_commit=True,
        watches={"S": cast(Any, watch)},
        under_way=AppendSpans(),
    )
    append = append_to("a")
    assert await appender.append("S", (append,)) == [SEQUENCE]
    assert store.appends == 1
    assert store.stored == envelope.encode(append.envelope)
    # Its loss is noticed, like that of one whose acknowledgement arrived.
    assert watch.known == [(SEQUENCE, SEQUENCE)]
