"""Reading of events with sealed fields: each field gets its plain text back, or what an erasure leaves."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import force_setattr

from contracts.events.event import Event
from contracts.values.personal_data import Sealed
from streams.personal_data import cipher
from streams.personal_data.fields import Change, PersonalField, changed, own_fields, sealed_keys
from streams.personal_data.metrics import undecipherable

E = TypeVar("E", bound=Event)


class ReadableKeys(Protocol):
    async def find(self, key_ids: set[str], /) -> dict[str, AESGCM | None]:
        """Finds all these keys, by id; None for a key that was destroyed.

        Raises:
            KeysUnavailable: one of them cannot be had now.
            Undecipherable: one of them is no key id, or cannot be unwrapped.
        """


class Unsealer:
    def __init__(self, keys: ReadableKeys) -> None:
        self._keys = keys

    async def unseal(self, events: Sequence[E]) -> list[E]:
        """The events with plain text in place of sealed fields, in the same order; the same objects if none is sealed.

        A field whose key was destroyed becomes empty: None where its type allows that, or else "". All keys are looked
        up together, once.

        Raises:
            KeysUnavailable: a key cannot be had now; no event is returned. Not raised for a destroyed key.
            Undecipherable: one of the events cannot be deciphered, now or later.
        """
        key_ids = sealed_keys(events)
        if not key_ids:
            return list(events)
        keys = await self._keys.find(key_ids)

        plain = _with(keys)
        return [changed(event, plain) for event in events]

    async def unseal_decoded(self, events: list[Event]) -> list[int]:
        """As `unseal`, but faster, since in place: for events that no other code holds.

        Returns the indices of those that had sealed fields. After an error all of them are as they were.
        """
        sealed: list[tuple[int, Event, str, PersonalField, Sealed]] = []
        deeper: list[int] = []
        for index, event in enumerate(events):
            own = own_fields(type(event))
            if own is None:
                deeper.append(index)
                continue
            for name, field in own:
                value = getattr(event, name)
                if type(value) is Sealed:
                    sealed.append((index, event, name, field, value))
        key_ids = {value.key for *_, value in sealed}
        if deeper:
            key_ids |= sealed_keys(events[index] for index in deeper)
        if not key_ids:
            return []
        keys = await self._keys.find(key_ids)
        # All before the first one is changed: one that cannot be deciphered must not leave others half done.
        texts = [_plain_text(keys[value.key], value, field) for _, _, _, field, value in sealed]
        plain = _with(keys)
        opened = [(index, after) for index in deeper if (after := changed(events[index], plain)) is not events[index]]
        for (_, event, name, _, _), text in zip(sealed, texts, strict=True):
            force_setattr(event, name, text)
        for index, after in opened:
            events[index] = after
        return list(dict.fromkeys([*(index for index, *_ in sealed), *(index for index, _ in opened)]))

    async def unseal_texts(self, sealed: Mapping[str, Sealed], field: str) -> dict[str, str]:
        """The texts that `Sealer.seal_text` sealed under the field; without those that cannot be read any more.

        Raises:
            KeysUnavailable: a key cannot be had now.
        """
        texts: dict[str, str] = {}
        if not sealed:
            return texts
        keys = await self._keys.find({value.key for value in sealed.values()})
        for name, value in sealed.items():
            with suppress(cipher.Undecipherable):
                if text := _plain_text(keys[value.key], value, PersonalField(field, optional=False)):
                    texts[name] = text
        return texts


def _with(keys: Mapping[str, AESGCM | None]) -> Change:
    """Unseals with the keys."""

    def plain(value: str | Sealed, field: PersonalField, container: msgspec.Struct) -> str | None:
        return value if isinstance(value, str) else _plain_text(keys[value.key], value, field)

    return plain


def _plain_text(key: AESGCM | None, sealed: Sealed, field: PersonalField) -> str | None:
    if key is None:
        return None if field.optional else ""
    try:
        return cipher.unseal(key, sealed, field.name)
    except cipher.Undecipherable as error:
        raise undecipherable(f"{field.name} was not sealed with the key {sealed.key}") from error
