"""Stores and reads events of aggregates: one literal subject each, with a condition on its last sequence.

In the library no two events of an aggregate have the same version. Here versions are dense within a subject: the
version decides whether an event may follow the last one, and the condition ensures that it does.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from eventsourcing.persistence import AggregateRecorder, IntegrityError, NotSupportedError, StoredEvent

from streams.log import Append, Conflict, Log
from streams.lru_cache import LruCache
from streams.message import Message
from streams.persistence.error_translation import in_the_librarys_words
from streams.persistence.mapper import AsOriginatorId, OriginatorId, envelope_of, stored_event_of, token_of
from streams.persistence.sync_bridge import Bridge

# Aggregates whose last sequences are cached.
_REMEMBERED = 10_000


class Tail(NamedTuple):
    """Sequence and version of an aggregate's last event."""

    sequence: int = 0
    # None: there is no event yet, and the first one may have any version.
    version: int | None = None


class JetStreamAggregateRecorder(AggregateRecorder):
    def __init__(
        self, bridge: Bridge, *, stream: str, prefix: str, as_originator_id: AsOriginatorId, patience: float
    ) -> None:
        """`prefix`: of the subjects; the token after it is the originator's id."""
        self.bridge = bridge
        self.stream = stream
        self._prefix = prefix
        self.as_originator_id = as_originator_id
        self.log = Log(bridge.client, patience=patience, stream_of=lambda _: stream)
        self._tails: LruCache[str, Tail] = LruCache(_REMEMBERED)

    @property
    def every_subject(self) -> str:
        """The filter that matches the subjects of all aggregates."""
        return f"{self._prefix}.*"

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: object) -> Sequence[int] | None:
        """Stores up to 1,000 events, all or none; durable when this returns.

        Raises:
            IntegrityError: an event of that version is stored, or the one before it is not.
            NotSupportedError: a tracking object was passed with them.
            PersistenceError: as `in_the_librarys_words`.
        """
        self._insert(stored_events, **kwargs)
        return None

    def select_events(
        self,
        originator_id: OriginatorId,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """The aggregate's events by version: all that were stored before this call."""
        newest_alone = desc and limit == 1 and gt is None and lte is None
        with in_the_librarys_words():
            messages = self.bridge.call(self._read(self._subject(originator_id), gt, newest_alone=newest_alone))
            events = sorted(self._opened(messages), key=_version, reverse=desc)
        selected = [
            event
            for event in events
            if (gt is None or event.originator_version > gt) and (lte is None or event.originator_version <= lte)
        ]
        return selected[:limit]

    def _insert(self, events: Sequence[StoredEvent], tracking: object = None, **_: object) -> list[int]:
        if tracking is not None:
            raise NotSupportedError("tracking objects must be stored with their rows, in PostgreSQL")
        return self.bridge.call(self._append(events)) if events else []

    async def _append(self, events: Sequence[StoredEvent]) -> list[int]:
        subjects = [self._subject(event.originator_id) for event in events]
        different = list(dict.fromkeys(subjects))
        # An aggregate that is not cached counts as new: the condition detects a wrong guess.
        remembered = {subject: self._tails.get(subject) or Tail() for subject in different}
        try:
            return await self._append_behind(remembered, subjects, events)
        except (Conflict, IntegrityError):
            # The cache may be stale: try once more with the current last events.
            current = await asyncio.gather(*(self._current_tail(subject) for subject in different))
            return await self._append_behind(dict(zip(different, current, strict=True)), subjects, events)

    async def _append_behind(
        self, tails: dict[str, Tail], subjects: Sequence[str], events: Sequence[StoredEvent]
    ) -> list[int]:
        versions = {subject: tail.version for subject, tail in tails.items()}
        for subject, event in zip(subjects, events, strict=True):
            before = versions[subject]
            if before is not None and event.originator_version != before + 1:
                raise IntegrityError(f"version {event.originator_version} cannot follow {before} on {subject}")
            versions[subject] = event.originator_version
        sequences = await self._store({subject: tail.sequence for subject, tail in tails.items()}, subjects, events)
        for subject, event, sequence in zip(subjects, events, sequences, strict=True):
            self._tails.put(subject, Tail(sequence, event.originator_version))
        return sequences

    async def _store(
        self, expected: dict[str, int], subjects: Sequence[str], events: Sequence[StoredEvent]
    ) -> list[int]:
        return await self.log.append_together(
            [
                Append(subject=subject, expected=expected[subject], envelope=envelope_of(event))
                for subject, event in zip(subjects, events, strict=True)
            ]
        )

    async def _current_tail(self, subject: str) -> Tail:
        last = await self.log.last(subject)
        return Tail(last.sequence, last.envelope().version) if last else Tail()

    async def _read(self, subject: str, gt: int | None, *, newest_alone: bool) -> list[Message]:
        if newest_alone:
            last = await self.log.last(subject)
            messages = [last] if last else []
        else:
            tail = self._tails.get(subject)
            known = tail is not None and tail.version is not None and gt is not None and gt >= tail.version
            messages = await self.log.read(subject, after=tail.sequence if tail and known else 0)
        if messages:
            self._tails.put(subject, Tail(messages[-1].sequence, messages[-1].envelope().version))
        return messages

    def _opened(self, messages: Iterable[Message]) -> list[StoredEvent]:
        return [stored_event_of(message, self.as_originator_id) for message in messages]

    def _subject(self, originator_id: OriginatorId) -> str:
        return f"{self._prefix}.{token_of(originator_id)}"


def _version(event: StoredEvent) -> int:
    return event.originator_version
