"""The table of kinds names every aggregate type, and no state shows a secret or, to operators, personal data."""

from datetime import UTC, datetime

import msgspec
import pytest

from contracts.aggregate_types import AGGREGATE_TYPES
from contracts.events.event import Event
from infra.devtools.event_schemas.event_contract import Contract
from infra.devtools.event_schemas.sample_data import samples
from services.operator.history.aggregate_kinds import KINDS, NOT_SHOWN, AggregateKind
from services.operator.redaction import _personal, plain, redact_state

AT = datetime(2026, 1, 31, tzinfo=UTC)
CANARY = "what nobody may read"
EVENTS = [(kind, event) for kind in KINDS.values() for event in kind.aggregate_type.events]


def states_after(kind: AggregateKind, event_class: type[Event], hidden: frozenset[str]) -> list[object]:
    """The states after events of every shape whose hidden fields are canaries."""
    canaries = dict.fromkeys(hidden, CANARY)
    events = [msgspec.convert(data | canaries, event_class) for data in samples(Contract.of(event_class, ""))]
    return [kind.evolve(kind.initial, event, AT) for event in events]


def test_every_aggregate_type_is_shown_or_has_a_reason_why_not() -> None:
    shown = {kind.aggregate_type.name for kind in KINDS.values()}
    assert shown | NOT_SHOWN.keys() == {aggregate_type.name for aggregate_type in AGGREGATE_TYPES}
    assert shown & NOT_SHOWN.keys() == set()


@pytest.mark.parametrize(("kind", "event"), EVENTS, ids=[event.TYPE for _, event in EVENTS])
def test_no_state_shows_operators_what_is_personal_in_its_events(kind: AggregateKind, event: type[Event]) -> None:
    for state in states_after(kind, event, _personal(event.TYPE)):
        assert CANARY not in str(redact_state(kind, state, redacted=True))


@pytest.mark.parametrize(
    "event",
    [event for event in KINDS["credential"].aggregate_type.events if "password_hash" in event.__struct_fields__],
    ids=lambda event: str(event.TYPE),
)
def test_a_hash_of_a_password_is_shown_to_no_one(event: type[Event]) -> None:
    kind = KINDS["credential"]
    for state in states_after(kind, event, frozenset({"password_hash"})):
        assert CANARY in str(msgspec.to_builtins(state, enc_hook=plain))
        assert CANARY not in str(redact_state(kind, state, redacted=False))


def names_in(value: object) -> set[str]:
    if not isinstance(value, dict):
        return set()
    return set(value).union(*map(names_in, value.values()))


def test_what_states_show_of_private_events_was_decided_field_by_field() -> None:
    shown = {
        kind.name: names_in(msgspec.to_builtins(state, enc_hook=plain)) - kind.secrets
        for kind, event in EVENTS
        if kind.aggregate_type.private
        for state in states_after(kind, event, frozenset())
    }
    assert shown == {
        "credential": {"hashed", "scheme", "key_id", "generation", "changed_by", "reset_generation", "reported_at"},
        "data_export": {"recent"},
        "data_keys": {"created", "destroyed", "all_destroyed", "held"},
        "login_failures": {"last_at", "number"},
    }


def test_a_profile_shows_operators_that_there_is_text_and_others_what_it_says() -> None:
    kind = KINDS["profile"]
    state = msgspec.structs.replace(kind.initial, username="anna", bio=CANARY)
    assert redact_state(kind, state, redacted=True) | {"updated_at": None} == {
        "username": "•••",
        "display_name": "",
        "bio": "•••",
        "avatar_url": "",
        "presence": "friends",
        "language": None,
        "updated_at": None,
    }
    assert redact_state(kind, state, redacted=False)["bio"] == CANARY
