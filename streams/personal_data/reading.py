"""Messages as their readers get them: with plain text where personal data is stored sealed.

The keys belong to a connection, as its rights do: `main.py` sets them once, and all readers of the connection return
plain text. A connection without keys returns what is stored, for those who copy or prove it.
"""

import asyncio
from contextlib import suppress
from enum import Enum

import msgspec
from nats.aio.client import Client

from contracts import catalogue, envelope
from contracts.catalogue import SEALED_MARK
from contracts.envelope import Envelope
from contracts.events.event import Event
from contracts.values.personal_data import Sealed
from streams.message import Message
from streams.personal_data.cipher import Undecipherable
from streams.personal_data.fields import PersonalField, changed
from streams.personal_data.unsealer import Unsealer

_UNSEALER = "_vestnik_unsealer"
# Events that are unsealed without a pause for other tasks: some milliseconds.
_TOGETHER = 250


class PersonalData(Enum):
    """The form in which a reader receives sealed personal data."""

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

    A message that cannot be read as an event, or whose personal data cannot be deciphered, stays as it is: its reader
    finds that by itself.

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
    plain = list(messages)
    for start in range(0, len(marked), _TOGETHER):
        stored = [
            (index, *parts)
            for index in marked[start : start + _TOGETHER]
            if (parts := _stored(messages[index])) is not None
        ]
        events = [event for _, _, event in stored]
        if form is PersonalData.EMPTY or unsealer is None:
            empty = [changed(event, _nothing) for event in events]
            unsealed = [number for number, event in enumerate(events) if empty[number] is not event]
            events = empty
        else:
            unsealed = await _unsealed(unsealer, events)
        for number in unsealed:
            index, stored_envelope, _ = stored[number]
            plain[index] = _opened(messages[index], stored_envelope, events[number])
        if start + _TOGETHER < len(marked):
            await asyncio.sleep(0)
    return plain


async def _unsealed(unsealer: Unsealer, events: list[Event]) -> list[int]:
    """Unseals the events in place; the indices of those that were sealed and could be deciphered."""
    try:
        return await unsealer.unseal_decoded(events)
    except Undecipherable:
        unsealed = []
    for index, event in enumerate(events):
        alone = [event]
        with suppress(Undecipherable):
            if await unsealer.unseal_decoded(alone):
                events[index] = alone[0]
                unsealed.append(index)
    return unsealed


def _stored(message: Message) -> tuple[Envelope, Event] | None:
    """The envelope and the event as it is stored; None if it is not one of our events."""
    try:
        stored = message.envelope()
        return stored, catalogue.decode(stored.type, stored.schema, stored.data, may_be_sealed=True)
    except (LookupError, msgspec.DecodeError):
        return None


def _opened(message: Message, stored: Envelope, data: Event) -> Message:
    event = envelope.recorded(stored, data, stream=message.stream, sequence=message.sequence, subject=message.subject)
    return Message(
        message.stream,
        message.sequence,
        message.subject,
        message.payload,
        message.stored_ns,
        message.headers,
        event,
    )


def _nothing(value: str | Sealed, field: PersonalField, container: msgspec.Struct) -> str | Sealed | None:
    if not isinstance(value, Sealed):
        return value
    return None if field.optional else ""
