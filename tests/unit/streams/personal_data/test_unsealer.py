"""Sealed events come out as if they had been stored in plain text, and erased ones empty."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from contracts.errors import KeysUnavailable
from contracts.events.event import Event
from contracts.events.message import MessageDeleted
from contracts.events.profile import ProfileUpdated
from contracts.events.user import UserCreated
from contracts.values.timestamps import from_unix_ms
from streams.personal_data import cipher
from streams.personal_data.unsealer import Unsealer
from tests.unit.streams.personal_data.memory_keys import Keys

AT = from_unix_ms(0)


def sealed(key: AESGCM, key_id: str, field: str, text: str) -> Any:  # noqa: ANN401 - a field's type is that of its text
    return cipher.seal(key, key_id, field, text)


def updated(key: AESGCM, key_id: str, name: str, bio: str) -> ProfileUpdated:
    return ProfileUpdated(
        display_name=sealed(key, key_id, "profile.updated/display_name", name),
        bio=sealed(key, key_id, "profile.updated/bio", bio),
        avatar_url="plain",
    )


async def test_all_keys_of_a_batch_are_looked_up_once() -> None:
    anna, ben = AESGCM(cipher.new_key()), AESGCM(cipher.new_key())
    keys = Keys(anna=anna, ben=ben)
    deleted = MessageDeleted(message_id="m", conversation_id="c", sequence=1, sender_id="s", sent_at=AT, members=())
    plain = ProfileUpdated(display_name="Cleo")
    events: list[Event] = [updated(anna, "anna", "Anna", "hi"), deleted, plain, updated(ben, "ben", "Ben", "")]
    unsealed = await Unsealer(keys).unseal(events)
    assert unsealed == [
        ProfileUpdated(display_name="Anna", bio="hi", avatar_url="plain"),
        deleted,
        plain,
        ProfileUpdated(display_name="Ben", bio="", avatar_url="plain"),
    ]
    assert unsealed[1] is deleted
    assert unsealed[2] is plain
    assert keys.requests == [{"anna", "ben"}]


async def test_plain_events_come_back_themselves_without_a_look_up() -> None:
    keys = Keys()
    events = [ProfileUpdated(display_name="Anna"), UserCreated(username="ben")]
    unsealed = await Unsealer(keys).unseal(events)
    assert all(before is after for before, after in zip(events, unsealed, strict=True))
    assert keys.requests == []


async def test_what_an_erasure_leaves_is_empty() -> None:
    key = AESGCM(cipher.new_key())
    events = [
        updated(key, "gone", "Anna", "hi"),
        UserCreated(username="anna", display_name=sealed(key, "gone", "user.created/display_name", "Anna")),
    ]
    assert await Unsealer(Keys(gone=None)).unseal(events) == [
        ProfileUpdated(display_name="", bio="", avatar_url="plain"),
        UserCreated(username="anna", display_name=None),
    ]


async def test_a_key_that_cannot_be_had_is_an_error_and_never_an_erasure() -> None:
    with pytest.raises(KeysUnavailable):
        await Unsealer(Keys()).unseal([updated(AESGCM(cipher.new_key()), "away", "Anna", "hi")])


async def test_a_text_that_was_moved_from_another_field_is_not_read() -> None:
    key = AESGCM(cipher.new_key())
    moved = sealed(key, "k", "profile.updated/bio", "secret")
    with pytest.raises(cipher.Undecipherable):
        await Unsealer(Keys(k=key)).unseal([ProfileUpdated(display_name=moved)])
