"""Messages as their readers get them: with plain text where personal data is stored sealed.

The keys belong to a connection, as its rights do: `main.py` sets them once, and all readers of the connection return
plain text. A connection without keys returns what is stored, for those who copy or prove it.
"""

import asyncio
from enum import Enum

import msgspec
from nats.aio.client import Client

from contracts import catalogue, envelope
from contracts.catalogue import SEALED_MARK
from contracts.envelope import Envelope, Recorded
from contracts.events.event import Event
from contracts.values.personal_data import Sealed
from streams.message import Message
from streams.personal_data.fields import PersonalField, changed, sealed_keys
from streams.personal_data.unsealer import Unsealer

_UNSEALER = "_vestnik_unsealer"
# Events that are unsealed without a pause for other tasks: some milliseconds.
_TOGETHER = 250


class PersonalData(Enum):
    """What a reader gets in place of sealed personal data."""

    # Plain text, as far as the connection has keys.
    PLAIN = "plain"
    # Nothing, which needs no keys: for readers that make no use of it.
    EMPTY = "empty"
    # What is stored.
    STORED = "stored"


def unseal_with(nc: Client, unsealer: Unsealer) -> None:
    """Has all readers of the connection return plain text."""
    setattr(nc, _UNSEALER, unsealer)


async def readable(nc: Client, messages: list[Message], form: PersonalData = PersonalData.PLAIN) -> list[Message]:
    """The messages in the form; the same list if nothing in them is sealed.

    A message that cannot be read as an event stays as it is: its reader finds that by itself.

    Raises:
        KeysUnavailable: a key cannot be had now.
    """
    if form is PersonalData.STORED:
        return messages
    marked = [index for index, message in enumerate(messages) if SEALED_MARK in message.payload]
    if not marked:
        return messages
    unsealer: Unsealer | None = getattr(nc, _UNSEALER, None)
    if form is PersonalData.PLAIN and unsealer is None:
        return messages
    opened = [(index, *found) for index in marked if (found := _opened(messages[index])) is not None]
    plain = list(messages)
    for start in range(0, len(opened), _TOGETHER):
        part = opened[start : start + _TOGETHER]
        sealed = [event for _, _, event in part]
        if form is PersonalData.EMPTY or unsealer is None:
            unsealed = [_emptied(event) for event in sealed]
        else:
            unsealed = await unsealer.unseal_recorded(sealed)
        for (index, stored, _), plain_event in zip(part, unsealed, strict=True):
            plain[index] = _in_plain_form(messages[index], stored, plain_event)
        if start + _TOGETHER < len(opened):
            await asyncio.sleep(0)
    return plain


def _opened(message: Message) -> tuple[Envelope, Recorded[Event]] | None:
    """The envelope and the event as stored; None if it has nothing sealed, or is not one of our events."""
    try:
        stored = message.envelope()
        data = catalogue.decode(stored.type, stored.schema, stored.data, may_be_sealed=True)
    except (LookupError, msgspec.DecodeError):
        return None
    if not sealed_keys([data]):
        return None
    return stored, envelope.recorded(
        stored, data, stream=message.stream, sequence=message.sequence, subject=message.subject
    )


def _emptied(event: Recorded[Event]) -> Recorded[Event]:
    return msgspec.structs.replace(event, data=changed(event.data, _nothing))


def _nothing(value: str | Sealed, field: PersonalField, container: msgspec.Struct) -> str | Sealed | None:
    if not isinstance(value, Sealed):
        return value
    return None if field.optional else ""


def _in_plain_form(message: Message, stored: Envelope, event: Recorded[Event]) -> Message:
    data = msgspec.Raw(msgspec.json.encode(event.data))
    payload = envelope.encode(msgspec.structs.replace(stored, schema=event.data.SCHEMA, data=data))
    return msgspec.structs.replace(message, payload=payload, opened=event)
