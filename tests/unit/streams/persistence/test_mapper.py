import json
from uuid import UUID, uuid4

import msgspec
import pytest
from eventsourcing.persistence import StoredEvent
from hypothesis import given
from hypothesis import strategies as some

from contracts import envelope
from streams.message import Message
from streams.persistence.mapper import envelope_of, notification_of, stored_event_of, token_of

OBJECTS = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, max_size=3),
    max_leaves=8,
)


def stored(state: bytes) -> StoredEvent:
    return StoredEvent(originator_id=uuid4(), originator_version=3, topic="library:Book.Lent", state=state)


def written(event: StoredEvent) -> Message:
    return Message("LIBRARY", 7, "library.1", envelope.encode(envelope_of(event)))


@given(some.binary())
def test_any_state_comes_back_byte_for_byte(state: bytes) -> None:
    event = stored(state)
    assert stored_event_of(written(event), UUID) == event


@given(some.dictionaries(some.text(), OBJECTS, max_size=4), some.sampled_from([None, 1]), some.booleans())
def test_a_state_in_json_comes_back_byte_for_byte(state: object, indent: int | None, ascii_only: bool) -> None:
    event = stored(json.dumps(state, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"))
    assert stored_event_of(written(event), UUID) == event


@pytest.mark.parametrize(
    "state", [b"{", b"{}}", b'{"a":NaN}', b'{"a":"\xff"}', b" {}", b"{} ", b"null", b'"e30="', b""]
)
def test_a_state_that_only_resembles_json_comes_back_too(state: bytes) -> None:
    event = stored(state)
    assert stored_event_of(written(event), UUID) == event
    json.loads(written(event).payload)


def test_a_state_in_json_is_readable_in_the_stream() -> None:
    event = stored(b'{"reader": "anna", "days": 14}')
    message = json.loads(written(event).payload)
    assert message["data"] == {"reader": "anna", "days": 14}
    assert (message["type"], message["aggregate_id"], message["version"]) == (
        "library:Book.Lent",
        str(event.originator_id),
        3,
    )


def test_a_notifications_id_is_the_sequence_in_the_stream() -> None:
    assert notification_of(written(stored(b"{}")), UUID).id == 7


def test_a_uuid_is_its_own_token() -> None:
    originator_id = uuid4()
    assert token_of(originator_id) == str(originator_id)


@given(some.text(min_size=1), some.text(min_size=1))
def test_every_text_is_one_literal_token_of_its_own(one: str, other: str) -> None:
    try:
        tokens = token_of(one), token_of(other)
    except UnicodeEncodeError:
        return
    assert all(set(token).isdisjoint(". *>\t\r\n") and token for token in tokens)
    assert (tokens[0] == tokens[1]) == (one == other)


def test_an_empty_id_is_refused() -> None:
    with pytest.raises(ValueError):
        token_of("")


def test_a_message_without_an_envelope_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        stored_event_of(Message("LIBRARY", 1, "library.1", b"hello"), UUID)
