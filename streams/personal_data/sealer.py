"""Sealing of new events: each field of personal data with the key of the person whose data it is."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from contracts.events.event import Event
from contracts.personal_data.keys_of_fields import KEY_OF
from contracts.values.personal_data import Sealed
from streams.personal_data import cipher
from streams.personal_data.fields import PersonalField, changed
from streams.personal_data.metrics import destroyed

E = TypeVar("E", bound=Event)

CreateKeys = Callable[[Collection[str]], Awaitable[None]]


class LookedUpKeys(Protocol):
    """As DataKeys."""

    async def look_up(self, key_ids: Collection[str], /) -> dict[str, AESGCM | None]: ...

    async def find(self, key_ids: Collection[str], /) -> dict[str, AESGCM | None]: ...


class Sealer:
    def __init__(self, keys: LookedUpKeys, create: CreateKeys) -> None:
        """`create`: creates keys that do not exist yet."""
        self._keys = keys
        self._create = create

    async def seal(self, events: Sequence[E], *, aggregate_id: str, at: datetime) -> list[E]:
        """New events of one aggregate, decided at a time, with their personal data sealed. A field that is empty, or
        belongs to no user, stays as it is.

        Raises:
            UserNotFound: the data is that of a person who was erased.
            MessageNotFound: it is about a message whose text was erased.
            KeysUnavailable: a key cannot be had or created now.
        """
        wanted: dict[str, None] = {}

        def collect(value: str | Sealed, field: PersonalField, container: msgspec.Struct) -> str | Sealed:
            if value and isinstance(value, str) and (key_id := KEY_OF[field.name](container, aggregate_id, at)):
                wanted[key_id] = None
            return value

        for event in events:
            changed(event, collect)
        if not wanted:
            return list(events)
        keys = await self._keys.look_up(wanted)
        if missing := [key_id for key_id in wanted if key_id not in keys]:
            await self._create(missing)
            keys |= await self._keys.find(missing)

        def sealed(value: str | Sealed, field: PersonalField, container: msgspec.Struct) -> str | Sealed:
            if not value or not isinstance(value, str):
                return value
            key_id = KEY_OF[field.name](container, aggregate_id, at)
            if key_id is None:
                return value
            key = keys[key_id]
            if key is None:
                raise destroyed(key_id)
            return cipher.seal(key, key_id, field.name, value)

        return [changed(event, sealed) for event in events]
