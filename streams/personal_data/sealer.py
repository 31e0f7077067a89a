"""Sealing of new events: each field of personal data with the key of the person whose data it is."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import force_setattr

from contracts import catalogue
from contracts.envelope import Envelope
from contracts.errors import VestnikError
from contracts.events.event import Event
from contracts.personal_data.key_ids import wrapped_by
from contracts.personal_data.keys_of_fields import KEY_OF, is_copied
from contracts.values.personal_data import Sealed
from streams.personal_data import cipher
from streams.personal_data.fields import PersonalField, changed, own_fields
from streams.personal_data.metrics import destroyed

E = TypeVar("E", bound=Event)

CreateKeys = Callable[[Collection[str]], Awaitable[None]]
# Called with the keys that seal new events, and the time of these; it must not wait.
Used = Callable[[Collection[str], datetime], None]
_Keys = Mapping[str, AESGCM | None]


class LookedUpKeys(Protocol):
    """As DataKeys."""

    async def look_up(self, key_ids: Collection[str], /) -> dict[str, AESGCM | None]: ...

    async def find(self, key_ids: Collection[str], /) -> dict[str, AESGCM | None]: ...


class Sealer:
    def __init__(self, keys: LookedUpKeys, create: CreateKeys) -> None:
        """`create`: creates keys that do not exist yet."""
        self._keys = keys
        self.create = create
        self._used: Used | None = None

    def listen(self, used: Used) -> None:
        """Registers a callback of `seal_envelopes`, with the keys of each call's events and the first event's time."""
        self._used = used

    async def seal(self, events: Sequence[E], *, aggregate_id: str, at: datetime) -> list[E]:
        """Returns copies of new events of one aggregate with their personal data sealed.

        A field that is empty, or belongs to no user, stays as it is. Where the state in an event still has data of a
        person who was erased, it becomes empty. `at`: the time of the events.

        Raises:
            UserNotFound: the data is that of a person who was erased.
            MessageNotFound: it is about a message whose text was erased.
            KeysUnavailable: a key cannot be had or created now.
        """
        key_ids: dict[str, None] = {}
        for event in events:
            _collect(event, aggregate_id, at, key_ids)
        keys = await self._find(key_ids)
        try:
            return [_sealed(event, aggregate_id, at, keys) for event in events]
        except _Destroyed as error:
            raise await self._refusal(error.key_id) from error

    async def seal_envelopes(self, envelopes: Sequence[Envelope]) -> list[Envelope]:
        """As `seal`, for envelopes of any aggregates; all keys are looked up, and created, together."""
        opened = [
            (envelope, catalogue.decode(envelope.type, envelope.schema, envelope.data, may_be_sealed=True))
            for envelope in envelopes
        ]
        key_ids: dict[str, None] = {}
        plain_texts: list[_PlainText] = []
        for envelope, event in opened:
            own = own_fields(type(event))
            if own is None:
                _collect(event, envelope.aggregate_id, envelope.at, key_ids)
                continue
            for name, field in own:
                text = getattr(event, name)
                if (
                    text
                    and type(text) is str
                    and (key_id := KEY_OF[field.name](event, envelope.aggregate_id, envelope.at))
                ):
                    key_ids[key_id] = None
                    plain_texts.append(_PlainText(event, name, field.name, text, key_id))
        if not key_ids:
            return list(envelopes)
        keys = await self._find(key_ids)
        if self._used is not None:
            self._used(key_ids, envelopes[0].at)
        try:
            for plain_text in plain_texts:
                plain_text.seal(keys)
            return [_in_envelope(envelope, event, keys) for envelope, event in opened]
        except _Destroyed as error:
            raise await self._refusal(error.key_id) from error

    async def seal_text(self, key_id: str, field: str, text: str) -> Sealed:
        """Seals a text that is in no event, under the name of a field.

        Raises: as `seal`.
        """
        key = (await self._find([key_id]))[key_id]
        if key is None:
            raise await self._refusal(key_id)
        return cipher.seal(key, key_id, field, text)

    async def _refusal(self, key_id: str) -> VestnikError:
        """The error to raise for data with a destroyed key: that of an erased person, or else of a month's texts."""
        person = wrapped_by(key_id) or key_id
        gone = (await self._keys.look_up([person])).get(person, ...) is None
        return destroyed(person if gone else key_id)

    async def _find(self, key_ids: Collection[str]) -> _Keys:
        if not key_ids:
            return {}
        keys = await self._keys.look_up(key_ids)
        if missing := [key_id for key_id in key_ids if key_id not in keys]:
            await self.create(missing)
            keys |= await self._keys.find(missing)
        return keys


class _PlainText(NamedTuple):
    """A text in a private copy of an event, and the key that is to seal it."""

    event: Event
    member: str
    field: str
    text: str
    key_id: str

    def seal(self, keys: _Keys) -> None:
        key = keys[self.key_id]
        if key is None:
            raise _Destroyed(self.key_id)
        force_setattr(self.event, self.member, cipher.seal(key, self.key_id, self.field, self.text))


class _Destroyed(Exception):
    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        super().__init__(key_id)


def _collect(event: Event, aggregate_id: str, at: datetime, key_ids: dict[str, None]) -> None:
    """Adds the ids of the keys that the event's personal data needs."""

    def collect(value: str | Sealed, field: PersonalField, container: msgspec.Struct) -> str | Sealed:
        if value and isinstance(value, str) and (key_id := KEY_OF[field.name](container, aggregate_id, at)):
            key_ids[key_id] = None
        return value

    changed(event, collect)


def _sealed(event: E, aggregate_id: str, at: datetime, keys: _Keys) -> E:
    def seal(value: str | Sealed, field: PersonalField, container: msgspec.Struct) -> str | Sealed | None:
        if not value or not isinstance(value, str):
            return value
        key_id = KEY_OF[field.name](container, aggregate_id, at)
        if key_id is None:
            return value
        key = keys[key_id]
        if key is not None:
            return cipher.seal(key, key_id, field.name, value)
        if is_copied(field.name):
            return None if field.optional else ""
        raise _Destroyed(key_id)

    return changed(event, seal)


def _in_envelope(plain: Envelope, event: Event, keys: _Keys) -> Envelope:
    """The envelope with the event, whose own fields are sealed already."""
    if own_fields(type(event)) is None:
        event = _sealed(event, plain.aggregate_id, plain.at, keys)
    return msgspec.structs.replace(plain, data=msgspec.Raw(_ENCODER.encode(event)))


_ENCODER = msgspec.json.Encoder()
