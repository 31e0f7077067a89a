"""Personal data is found wherever it lies in an event."""

from typing import Any

import msgspec

from contracts.catalogue import EVENTS
from contracts.events.event import Event
from contracts.events.message import MessageDeleted
from contracts.events.operator import OperatorLooked
from contracts.events.report import ReportedMessage, ReportFiled
from contracts.events.user import AddressState, EmailReleased, PendingRegistration, UserCreated
from contracts.values.personal_data import Sealed
from contracts.values.timestamps import from_unix_ms
from streams.personal_data.fields import PersonalField, changed, fields_of, sealed_keys

AT = from_unix_ms(0)


def sealed(key_id: str) -> Any:  # noqa: ANN401 - a field's type is that of its text
    return Sealed(key=key_id, ciphertext="")


def pending(email: str, username: str = "u") -> PendingRegistration:
    return PendingRegistration(user_id="p", email=email, username=username, expires_at=AT)


def marked(schema: object) -> int:
    """The number of types marked as personal data in a JSON schema."""
    if isinstance(schema, dict):
        return ("x-personal" in schema) + sum(map(marked, schema.values()))
    return sum(map(marked, schema)) if isinstance(schema, list) else 0


def test_all_fields_that_the_schemas_mark_are_found() -> None:
    for event_type in EVENTS.values():
        schema = msgspec.json.schema(event_type)
        # A struct that occurs twice is one definition of the schema.
        assert bool(marked(schema)) == bool(fields_of(event_type)), event_type.TYPE
    names = [field.name for field in fields_of(EmailReleased)]
    assert names == [
        f"email.released/{path}"
        for path in (
            "address.email",
            "address.username",
            "address.pending.email",
            "address.pending.username",
            "email",
            "username",
        )
    ]


def test_a_field_knows_whether_it_may_be_absent() -> None:
    assert [field.optional for field in fields_of(EmailReleased)] == [True, False, False, False, True, False]


def test_personal_data_in_structs_lists_and_dicts_is_changed() -> None:
    def uppercase(value: str | Sealed, field: PersonalField, container: msgspec.Struct) -> str:
        assert isinstance(value, str)
        return value.upper()

    released = EmailReleased(
        user_id="u", address=AddressState(email="a", pending=(pending("b"), pending("c"))), username="small", email="d"
    )
    assert changed(released, uppercase) == EmailReleased(
        user_id="u",
        address=AddressState(email="A", pending=(pending("B", "U"), pending("C", "U"))),
        username="SMALL",
        email="D",
    )
    looked = OperatorLooked(operator="o", channel="cli", what="events", filter={"user": "a"})
    assert changed(looked, uppercase).filter == {"user": "A"}


def test_an_event_without_a_change_is_the_same_object() -> None:
    message = ReportedMessage(message_id="m", sequence=1, sender_id="s", sent_at=AT, text="t")
    events: list[Event] = [
        ReportFiled(reporter_id="r", reported_id="s", reason="spam", messages=(message,)),
        UserCreated(username="u"),
        MessageDeleted(message_id="m", conversation_id="c", sequence=1, sender_id="s", sent_at=AT, members=()),
        OperatorLooked(operator="o", channel="cli", what="events", filter={"user": "a"}),
    ]
    for event in events:
        assert changed(event, lambda value, field, container: value) is event


def test_a_change_is_called_with_the_struct_around_the_value() -> None:
    containers = []

    def note(value: str | Sealed, field: PersonalField, container: msgspec.Struct) -> str | Sealed:
        containers.append(container)
        return value

    address = AddressState(email="a", pending=(pending("b"),))
    event = EmailReleased(user_id="u", address=address, email="c")
    changed(event, note)
    assert containers == [address] * 2 + [address.pending[0]] * 2 + [event] * 2


def test_the_keys_of_sealed_fields_are_collected_over_a_batch() -> None:
    events = [
        UserCreated(username="u", display_name=sealed("k1")),
        EmailReleased(user_id="u", address=AddressState(pending=(pending(sealed("k2")), pending("plain")))),
        OperatorLooked(operator="o", channel="cli", what="x", filter={"a": sealed("k3")}),
    ]
    assert sealed_keys(events) == {"k1", "k2", "k3"}
    assert sealed_keys([UserCreated(username="u", display_name="plain")]) == set()
