"""Finds personal data that events have in plain form: those from before the release that seals it.

Counts persons with one bit for each person and row, and about 200 bytes for each person.
"""

from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

import msgspec
from nats.aio.client import Client

from contracts import catalogue
from contracts.envelope import Envelope
from contracts.errors import Unavailable
from contracts.events.event import Event
from contracts.personal_data.key_ids import owner_of
from contracts.personal_data.keys_of_fields import KEY_OF
from contracts.values.personal_data import Sealed
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed
from streams.message import Message
from streams.personal_data.fields import PersonalField, changed, fields_of
from streams.personal_data.reading import PersonalData
from streams.reader import Reader

_BATCH = 5_000

# Called with the stream, the last sequence that was read, and the stream's.
Progress = Callable[[str, int, int], None]


class PlainMonth(msgspec.Struct, frozen=True):
    """The events of one type and month that have personal data in plain form."""

    stream: str
    type: str
    # YYYY-MM, UTC.
    month: str
    events: int
    # Users whose data it is.
    persons: int


class PlainData(msgspec.Struct, frozen=True, kw_only=True):
    # By stream, type and month.
    months: list[PlainMonth]
    # In all months together.
    events: int
    persons: int
    # All events that were read, and those that this release cannot read: nothing is known of these.
    read: int
    unreadable: int


class _Row:
    """Counts events, and persons by their numbers."""

    def __init__(self) -> None:
        self.events = 0
        self._persons = bytearray()

    def add(self, persons: Iterable[int]) -> None:
        self.events += 1
        for person in persons:
            index, bit = divmod(person, 8)
            if index >= len(self._persons):
                self._persons.extend(bytes(index + 1 - len(self._persons)))
            self._persons[index] |= 1 << bit

    @property
    def persons(self) -> int:
        return int.from_bytes(self._persons).bit_count()


class PlainCount:
    """Counts over all messages that are added."""

    def __init__(self) -> None:
        # By stream, event type and month.
        self._rows: dict[tuple[str, str, str], _Row] = {}
        # The number of each person, by id.
        self._numbers: dict[bytes, int] = {}
        self._events = 0
        self._read = 0
        self._unreadable = 0

    def add(self, messages: Sequence[Message]) -> None:
        """The messages as they are stored."""
        for message in messages:
            try:
                self._add(message.stream, message.envelope())
            except (LookupError, msgspec.DecodeError):
                self._unreadable += 1
        self._read += len(messages)

    def result(self) -> PlainData:
        months = [PlainMonth(*key, row.events, row.persons) for key, row in sorted(self._rows.items())]
        return PlainData(
            months=months,
            events=self._events,
            persons=len(self._numbers),
            read=self._read,
            unreadable=self._unreadable,
        )

    def _add(self, stream: str, envelope: Envelope) -> None:
        if not fields_of(catalogue.EVENTS[envelope.type]):
            return
        event = catalogue.decode(envelope.type, envelope.schema, envelope.data, may_be_sealed=True)
        persons = owners_of_plain_data(event, envelope)
        if not persons:
            return
        row = self._rows.setdefault((stream, envelope.type, f"{envelope.at:%Y-%m}"), _Row())
        row.add(self._numbers.setdefault(UUID(person).bytes, len(self._numbers)) for person in persons)
        self._events += 1


def owners_of_plain_data(event: Event, envelope: Envelope) -> set[str]:
    """The users whose personal data the event has in plain form, although it would be sealed today."""
    owners: set[str] = set()

    def collect(value: str | Sealed, field: PersonalField, container: msgspec.Struct) -> str | Sealed:
        if value and isinstance(value, str):
            key_id = KEY_OF[field.name](container, envelope.aggregate_id, envelope.at)
            if key_id is not None and (owner := owner_of(key_id)) is not None:
                owners.add(owner)
        return value

    changed(event, collect)
    return owners


async def find_plain(nc: Client, streams: Sequence[str], progress: Progress) -> PlainData:
    """Reads the streams up to their current ends; one that does not exist has no events.

    Raises:
        Unavailable: NATS does not answer.
    """
    count = PlainCount()
    for stream in streams:
        try:
            end = await JetStream(nc).last_sequence(stream) or 0
        except (Refused, RequestFailed) as error:
            raise Unavailable from error
        position = 0
        async with Reader(nc, stream, name="plain-data", personal_data=PersonalData.STORED) as reader:
            while position < end:
                batch = await reader.next(_BATCH)
                count.add([message for message in batch.messages if message.sequence <= end])
                position = batch.position
                progress(stream, min(position, end), end)
    return count.result()
