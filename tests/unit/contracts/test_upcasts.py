"""An event of any schema that was ever released decodes to today's shape."""

import msgspec
import pytest

from contracts import envelope
from contracts.catalogue import decode
from contracts.upcasts import STEPS, upcast
from tests.fix_older_events import STORED, TODAY, GreetingSent, as_stored


@pytest.mark.parametrize("schema", STORED)
def test_every_schema_decodes_to_the_same_event(greetings: None, schema: int) -> None:
    assert decode(GreetingSent.TYPE, schema, msgspec.json.encode(STORED[schema])) == TODAY


@pytest.mark.parametrize("schema", STORED)
def test_an_older_event_is_opened_with_its_envelope(greetings: None, schema: int) -> None:
    sealed = as_stored(schema, "x", expected=0, version=1).envelope
    read = envelope.open_event(envelope.decode(envelope.encode(sealed)), stream="MESSAGING", sequence=9, subject="s")
    assert (read.id, read.data) == (sealed.id, TODAY)


def test_a_step_that_is_missing_is_named(greetings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(STEPS, (GreetingSent.TYPE, 2))
    with pytest.raises(LookupError, match=r"greeting\.sent: there is no upcast from schema 2 to 3"):
        upcast(GreetingSent.TYPE, 1, dict(STORED[1]), to=3)


def test_data_that_a_step_does_not_bring_to_todays_shape_is_refused(
    greetings: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STEPS, (GreetingSent.TYPE, 2), lambda data: data | {"words": "many"})
    with pytest.raises(msgspec.ValidationError, match="words"):
        decode(GreetingSent.TYPE, 1, msgspec.json.encode(STORED[1]))


@pytest.mark.parametrize("data", [b"[]", b"1", b"null", b'{"text":"\xff"}', b"[" * 9_999])
def test_data_that_a_step_cannot_take_is_refused(greetings: None, data: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, LookupError)):
        decode(GreetingSent.TYPE, 1, data)
