"""What was sealed and read again is what it was, in every type of event, and nothing of it is stored in plain text."""

from collections.abc import Collection
from datetime import UTC, datetime

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from contracts.aggregate_types import AGGREGATE_TYPE_OF
from contracts.catalogue import EVENTS
from contracts.errors import UserNotFound
from contracts.events.event import Event
from contracts.events.login_failure import LoginFailed
from contracts.events.profile import ProfileUpdated
from contracts.personal_data.key_ids import person_key
from contracts.personal_data.keys_of_fields import KEY_OF
from contracts.values.personal_data import Sealed
from infra.devtools.event_schemas.event_contract import Contract
from infra.devtools.event_schemas.sample_data import samples
from streams.personal_data import cipher
from streams.personal_data.fields import PersonalField, changed, fields_of
from streams.personal_data.sealer import Sealer
from streams.personal_data.unsealer import Unsealer

AT = datetime(2026, 12, 1, tzinfo=UTC)
USER, PLAIN = "0000000a-0000-7000-8000-000000000000", "a text in plain form"


class Keys:
    """Has every key that was created; None: destroyed."""

    def __init__(self) -> None:
        self.keys: dict[str, AESGCM | None] = {}
        self.created: list[str] = []

    async def create(self, key_ids: Collection[str]) -> None:
        self.created += key_ids
        self.keys |= {key_id: AESGCM(cipher.new_key()) for key_id in key_ids}

    async def look_up(self, key_ids: Collection[str], /) -> dict[str, AESGCM | None]:
        return {key_id: self.keys[key_id] for key_id in key_ids if key_id in self.keys}

    async def find(self, key_ids: Collection[str], /) -> dict[str, AESGCM | None]:
        return {key_id: self.keys[key_id] for key_id in key_ids}


def events_of(event_type: type[Event]) -> list[Event]:
    """Samples of the event type whose personal data is a text in plain form."""

    def plain(value: str | Sealed, field: PersonalField, container: msgspec.Struct) -> str:
        return PLAIN

    shapes = samples(Contract.of(event_type, AGGREGATE_TYPE_OF[event_type.TYPE].address))
    return [changed(msgspec.convert(shape, event_type), plain) for shape in shapes]


@pytest.mark.parametrize(
    "event_type", [kind for kind in EVENTS.values() if fields_of(kind)], ids=lambda kind: kind.TYPE
)
async def test_sealed_events_are_read_as_they_were_and_show_no_text(event_type: type[Event]) -> None:
    keys, events = Keys(), events_of(event_type)
    sealed = await Sealer(keys, keys.create).seal(events, aggregate_id=USER, at=AT)
    assert await Unsealer(keys).unseal(sealed) == events

    def count(value: str | Sealed, field: PersonalField, container: msgspec.Struct) -> str | Sealed:
        # What belongs to no user stays as it is.
        assert isinstance(value, Sealed) == (KEY_OF[field.name](container, USER, AT) is not None)
        return value

    for event in sealed:
        changed(event, count)


async def test_missing_keys_are_created_once_and_a_repeat_creates_none() -> None:
    keys, event = Keys(), ProfileUpdated(display_name="Anna", bio="hi")
    sealer = Sealer(keys, keys.create)
    for _ in range(2):
        await sealer.seal([event, event], aggregate_id=USER, at=AT)
    assert keys.created == [person_key(USER)]


async def test_nothing_is_sealed_for_a_person_whose_key_was_destroyed() -> None:
    keys = Keys()
    keys.keys[person_key(USER)] = None
    with pytest.raises(UserNotFound):
        await Sealer(keys, keys.create).seal([ProfileUpdated(display_name="Anna")], aggregate_id=USER, at=AT)


async def test_empty_texts_and_texts_of_no_user_need_no_key() -> None:
    keys = Keys()
    events: list[Event] = [
        ProfileUpdated(display_name=""),
        LoginFailed(user_id=None, reason="unknown_login", address="192.0.2.1", device="phone", number=1),
    ]
    assert await Sealer(keys, keys.create).seal(events, aggregate_id=USER, at=AT) == events
    assert keys.created == []
