"""Reads the events of Vestnik's own aggregates for the library's repository, a page at a time.

Versions increase with the stream's sequence, so a version or a moment of a long aggregate is found by binary search,
without reading the events before it. A short aggregate is read whole, backwards from its last event: between its events
there may be millions of others, which a search would make the server scan. A stored event carries its message, since a
domain needs the event's time and schema.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import overload

from eventsourcing.persistence import AggregateRecorder, NotSupportedError, StoredEvent

from contracts.envelope import Envelope
from contracts.subjects import stream_of
from streams.jetstream.api import JetStream
from streams.jetstream.subject_reader import reachable
from streams.log import Log
from streams.message import Message
from streams.persistence.mapper import OriginatorId
from streams.persistence.sync_bridge import Caller

# Events per read; an aggregate of as many is read whole.
_PAGE = 200
# For a search, which keeps no event.
_SCANNED_PAGE = 1_000


@dataclass(frozen=True)
class StoredMessage(StoredEvent):
    """A stored event and the message that contains it."""

    message: Message


class HistoryRecorder(AggregateRecorder):
    """Reads from another thread than the one that runs the caller's loop; appends nothing."""

    def __init__(self, caller: Caller, subject_of: Callable[[str], str], *, patience: float) -> None:
        """`subject_of`: maps an aggregate's id to its subject."""
        self._caller = caller
        self._subject_of = subject_of
        self._log = Log(caller.client, patience=patience)
        self._jetstream = JetStream(caller.client, patience=patience)

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: object) -> Sequence[int] | None:
        raise NotSupportedError("a history is only read")

    def select_events(
        self,
        originator_id: OriginatorId,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """The aggregate's events by version, read in pages while the result is iterated; descending only the newest.

        Raises:
            PersistenceError: as `in_the_librarys_words`.
        """
        first, subject = (gt or 0) + 1, self._subject_of(str(originator_id))
        if lte is not None and lte < first:
            return ()
        if not desc:
            return _Pages(self, subject, first, lte, limit)
        if limit != 1:
            raise NotSupportedError("of the events in descending order only the newest is read")
        newest = self._caller.call(self._newest(subject, lte))
        return () if newest is None or newest.originator_version < first else (newest,)

    def version_at(self, originator_id: str, moment: datetime, skew: timedelta) -> int:
        """The version before the first event that was decided after the moment; 0 if that is the first of all.

        `skew`: most difference of a deciding process's clock.

        Raises:
            PersistenceError: as `in_the_librarys_words`.
        """
        subject = self._subject_of(originator_id)
        # Whatever the clocks of its process and of others: this event and all before it were decided by `moment`.
        certain = self._caller.call(self._last_before(subject, lambda event: event.at > moment - 2 * skew))
        version, after = (certain.envelope().version, certain.sequence) if certain else (0, 0)
        for message in self._messages(subject, after=after, page=_SCANNED_PAGE):
            envelope = message.envelope()
            if envelope.at > moment:
                break
            version = envelope.version
        return version

    def events(self, subject: str, first: int, limit: int | None) -> Iterator[StoredMessage]:
        """Yields the subject's events from a version on."""
        before = self._caller.call(self._last_before(subject, lambda event: event.version >= first))
        return map(_stored, self._messages(subject, after=before.sequence if before else 0, limit=limit, page=_PAGE))

    def _messages(self, subject: str, *, after: int, page: int, limit: int | None = None) -> Iterator[Message]:
        while limit is None or limit > 0:
            size = page if limit is None else min(limit, page)
            messages = self._caller.call(self._read(subject, after, size))
            yield from messages
            if len(messages) < size:
                return
            after = messages[-1].sequence
            limit = None if limit is None else limit - size

    async def _read(self, subject: str, after: int, limit: int) -> list[Message]:
        short = await self._is_short(subject)
        return (await self._log.read(subject, after=after, limit=None if short else limit))[:limit]

    async def _newest(self, subject: str, until: int | None) -> StoredMessage | None:
        newest = await self._last_before(subject, lambda event: until is not None and event.version > until)
        return _stored((await self._log.readable([newest]))[0]) if newest else None

    async def _last_before(self, subject: str, is_later: Callable[[Envelope], bool]) -> Message | None:
        """The last event before the later ones; None if there is none."""
        last = await self._log.last(subject)
        if last is None or not is_later(last.envelope()):
            return last
        if last.envelope().version <= _PAGE:
            earlier = takewhile(lambda message: not is_later(message.envelope()), await self._log.read(subject))
            return next(iter(deque(earlier, maxlen=1)), None)
        newest: Message | None = None
        # The sequence of `found`, and one after which all events are later.
        low, high = 0, last.sequence - 1
        while low < high:
            middle = (low + high) // 2
            message = await reachable(self._jetstream.next(stream_of(subject), subject, middle))
            if message is None or is_later(message.envelope()):
                high = middle
            else:
                newest, low = message, message.sequence
        return newest

    async def _is_short(self, subject: str) -> bool:
        last = await self._log.last(subject)
        return last is None or last.envelope().version <= _PAGE


class _Pages(Sequence[StoredEvent]):
    """The events from a version up to another; each iteration reads them, a page at a time."""

    def __init__(
        self, recorder: HistoryRecorder, subject: str, first: int, last: int | None, limit: int | None
    ) -> None:
        self._recorder = recorder
        self._subject = subject
        self._first = first
        self._last = last
        self._limit = limit

    def __iter__(self) -> Iterator[StoredEvent]:
        for event in self._recorder.events(self._subject, self._first, self._limit):
            if self._last is not None and event.originator_version > self._last:
                return
            yield event

    @overload
    def __getitem__(self, index: int) -> StoredEvent: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[StoredEvent]: ...
    def __getitem__(self, index: int | slice) -> StoredEvent | Sequence[StoredEvent]:
        return list(self)[index]

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _stored(message: Message) -> StoredMessage:
    envelope = message.envelope()
    return StoredMessage(envelope.aggregate_id, envelope.version, envelope.type, bytes(envelope.data), message)
