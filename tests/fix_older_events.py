"""A test-only event with three schema versions, with upcasts to the current one."""

from typing import Any, ClassVar

import msgspec
import pytest

from contracts import catalogue
from contracts.envelope import Provenance, seal
from contracts.events.event import Event, Moment
from contracts.subjects import conversation
from contracts.upcasts import STEPS
from contracts.values.ids import new_id
from contracts.values.personal_data import Personal
from streams.log import Append


class GreetingSent(Event, frozen=True, kw_only=True):
    """In schema 1 the sender was `from`, in schema 2 there was no `words`."""

    TYPE: ClassVar[str] = "greeting.sent"
    SCHEMA: ClassVar[int] = 3
    sender_id: str
    text: Personal[str]
    words: int
    until: Moment | None = None


ANNA = new_id()
_UNTIL = "2026-01-31T12:00:00Z"

# The same greeting as each release stored it.
STORED: dict[int, dict[str, Any]] = {
    1: {"from": ANNA, "text": "hello you", "until": _UNTIL},
    2: {"sender_id": ANNA, "text": "hello you", "until": _UNTIL},
    3: {"sender_id": ANNA, "text": "hello you", "words": 2, "until": _UNTIL},
}
TODAY = msgspec.convert(STORED[3], GreetingSent)


def sender(data: dict[str, Any]) -> dict[str, Any]:
    return {("sender_id" if name == "from" else name): value for name, value in data.items()}


def words(data: dict[str, Any]) -> dict[str, Any]:
    return data | {"words": len(data["text"].split()) if isinstance(data["text"], str) else 0}


@pytest.fixture
def greetings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers the event and its upcasts for the duration of the test."""
    monkeypatch.setitem(catalogue.EVENTS, GreetingSent.TYPE, GreetingSent)
    monkeypatch.setitem(catalogue._DECODERS, GreetingSent.TYPE, msgspec.json.Decoder(GreetingSent))
    monkeypatch.setitem(STEPS, (GreetingSent.TYPE, 1), sender)
    monkeypatch.setitem(STEPS, (GreetingSent.TYPE, 2), words)


def as_stored(schema: int, conversation_id: str, *, expected: int, version: int) -> Append:
    """The append of the greeting as the release with that schema stored it."""
    sealed = seal(TODAY, aggregate_id=conversation_id, version=version, provenance=Provenance(actor=ANNA))
    data = msgspec.Raw(msgspec.json.encode(STORED[schema]))
    envelope = msgspec.structs.replace(sealed, schema=schema, data=data)
    return Append(subject=conversation(conversation_id), expected=expected, envelope=envelope)
