"""Operators see no personal data of an event, and no data at all of private or unknown events."""

from datetime import UTC, datetime

import msgspec
import pytest

from contracts import catalogue
from infra.devtools.generate_reference import _is_personal
from infra.history.event_history import EventView
from services.messaging.changes.domain import Message, Reaction
from services.operator.history.aggregate_kinds import KINDS
from services.operator.redaction import REDACTED, redact, redact_state

SECRET = "what somebody wrote"


def event(event_type: str, data: object, *, schema: int | None = None) -> EventView:
    return EventView(
        stream="MESSAGING",
        sequence=1,
        subject="vestnik.messaging.conversation.a",
        id="1",
        type=event_type,
        schema=catalogue.EVENTS[event_type].SCHEMA if schema is None else schema,
        aggregate_id="a",
        version=1,
        at=datetime(2026, 1, 31, tzinfo=UTC),
        actor=None,
        correlation_id=None,
        causation_id=None,
        traceparent=None,
        data=msgspec.Raw(msgspec.json.encode(data)),
    )


@pytest.mark.parametrize("event_type", [name for name, kind in catalogue.EVENTS.items() if not kind.PRIVATE])
def test_every_field_that_is_marked_personal_is_masked_and_no_other(event_type: str) -> None:
    kind = catalogue.EVENTS[event_type]
    _, components = msgspec.json.schema_components([kind])
    properties = components[kind.__name__]["properties"]
    shown = redact(event(event_type, dict.fromkeys(properties, SECRET)))
    masked = msgspec.json.decode(shown.data)
    assert masked == {name: REDACTED if _is_personal(schema) else SECRET for name, schema in properties.items()}


def test_sealed_texts_are_masked_and_missing_ones_stay_missing() -> None:
    sealed = {"text": {"key": "k", "ciphertext": SECRET}}
    assert msgspec.json.decode(redact(event("message.sent", sealed)).data) == {"text": REDACTED}
    assert msgspec.json.decode(redact(event("user.created", {"display_name": None})).data) == {"display_name": None}


def test_the_state_of_a_message_shows_who_reacts_and_not_how() -> None:
    state = Message(text=SECRET, reactions={"anna": Reaction(SECRET)})
    assert redact_state(KINDS["message"], state, redacted=True) == {
        "edited_at": None,
        "text": REDACTED,
        "deleted": False,
        "reactions": {"anna": {"emoji": REDACTED}},
        "edits": 0,
        "reaction_changes": 0,
    }


@pytest.mark.parametrize("data", [[SECRET], SECRET, 17])
def test_of_what_is_no_object_nothing_is_shown(data: object) -> None:
    assert redact(event("message.sent", data)).is_private


def test_of_a_shape_that_is_not_known_nothing_is_shown() -> None:
    assert redact(event("message.sent", {"words": SECRET}, schema=99)).is_private
    unknown = msgspec.structs.replace(event("message.sent", {"text": SECRET}), type="message.whispered")
    assert redact(unknown).is_private
