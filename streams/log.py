"""The event log: append one event, append several atomically, read a subject, read its last event.

Every append names the last sequence it has seen on its subject. That condition, not the server's duplicate window,
prevents an event from being stored twice. Whatever the outcome of an attempt, its event can only be the next one on the
subject after that sequence, so one lookup there distinguishes *stored*, *another writer was first* and *not yet*.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

import msgspec
from nats.aio.client import Client

from contracts import subjects
from contracts.deadlines import EVENT_STORE
from contracts.errors import Unavailable
from contracts.tracing import spans
from streams.appending.append import Append, Conflict
from streams.appending.appender import Appender
from streams.batching.append_spans import AppendSpans
from streams.jetstream.api import JetStream
from streams.jetstream.subject_reader import AggregateEvents, reachable
from streams.loss.watch import LossWatch
from streams.message import Message
from streams.metrics import Measured
from streams.personal_data.reading import readable
from streams.personal_data.writing import PERSONAL_TYPES, sealed
from streams.quorum import Quorum

__all__ = ["Append", "Conflict", "Log"]
_LARGEST_BATCH = 1000
# Maximum size of an append on one subject that may share a batch with other appends.
_SHARES = 64


class Log:
    def __init__(
        self,
        nc: Client,
        *,
        patience: float = EVENT_STORE,
        stream_of: Callable[[str], str] = subjects.stream_of,
        group_commit: bool = True,
        quorum: Quorum | None = None,
        watches: Mapping[str, LossWatch] | None = None,
    ) -> None:
        """
        `patience`: seconds for which an append is retried; more than a cluster needs to elect a leader.
        `stream_of`: maps a subject to its stream.
        `group_commit`: concurrent appends share a sync to disk; no gain where the server does not sync each append.
        `quorum`: reads count only while this holds; None: a single node, whose reads are authoritative.
        `watches`: loss watches by stream; nothing is appended to a stream that lacks events.
        """
        self._nc = nc
        self._stream_of = stream_of
        self._jetstream = JetStream(nc, patience=patience)
        self._events = AggregateEvents(self._jetstream)
        self._spans = AppendSpans()
        self._appender = Appender(
            self._jetstream,
            patience=patience,
            stream_of=stream_of,
            group_commit=group_commit,
            watches=watches or {},
            under_way=self._spans,
        )
        self._confirmed: AbstractContextManager[None] = quorum or nullcontext()
        # Whether there are replicas, so that a leader's answer may be stale.
        self.replicated = quorum is not None

    async def append(self, append: Append) -> int:
        """Appends one event under its condition; the event is durable when this returns.

        Returns:
            Its sequence in the stream. Appending the same event again returns the same sequence, however late.

        Raises:
            Conflict: another event was appended to the subject; this one is not stored.
            HistoryLost: not stored; the stream lacks events that it had.
            Unavailable, OutOfSpace: not stored; the event store cannot be reached, or has no space.
            DeadlineExceeded: whether it was stored could not be determined in time.
            PermissionError: this service may not append there; raised immediately.
            ValueError: the event is larger than the server accepts.
            UserNotFound, MessageNotFound: not stored; the event has personal data of a person who was erased, or is
                about a message whose text was.
            KeysUnavailable: not stored; its personal data cannot be sealed now.
        """
        stream = self._stream_of(append.subject)
        if append.envelope.type in PERSONAL_TYPES:
            (append,) = await self._sealed([append])
        span = self._spans.begin(stream, [append.envelope]) if spans.is_on() else None
        with Measured(stream, 1, span, conflict=Conflict):
            return (await self._appender.append(stream, (append,)))[0]

    async def append_together(self, appends: Sequence[Append]) -> list[int]:
        """Appends several events of one stream, all or none, in one atomic batch, possibly shared with other appends.

        Of several events on one subject, in order, the condition of the first applies.

        Returns:
            Their sequences, in the order given, without gaps.

        Raises:
            As `append`; `Conflict` names the first subject found to have another event.
            ValueError: the events do not fit into one batch.
        """
        if not appends:
            return []
        if len(appends) == 1:
            return [await self.append(appends[0])]
        subjects = {append.subject for append in appends}
        stream, *others = {self._stream_of(subject) for subject in subjects}
        if len(appends) > _LARGEST_BATCH or others:
            raise ValueError(f"a batch is up to {_LARGEST_BATCH} events of one stream")
        appends = await self._sealed(appends)
        span = self._spans.begin(stream, [append.envelope for append in appends]) if spans.is_on() else None
        with Measured(stream, len(appends), span, conflict=Conflict):
            if len(subjects) == 1 and len(appends) <= _SHARES:
                return await self._appender.append(stream, appends)
            return await self._appender.append_atomically(appends)

    async def last(self, subject: str) -> Message | None:
        """The subject's last event, read from the stream's leader: all events acknowledged before the call are visible.

        Raises:
            NoQuorum: the leader may have been cut off and replaced; all other reads raise this, too.
            KeysUnavailable: its personal data cannot be read now.
        """
        last = await self.last_stored(subject)
        return None if last is None else (await self.readable([last]))[0]

    async def last_stored(self, subject: str) -> Message | None:
        """As `last`, with personal data as it is stored, so that it needs no keys."""
        with self._confirmed:
            return await reachable(self._jetstream.last(self._stream_of(subject), subject))

    async def last_sequence(self, subject: str) -> int:
        """The sequence of the subject's last event, from the stream's leader; 0 if there is none."""
        last = await self.last_stored(subject)
        return last.sequence if last else 0

    async def readable(self, messages: list[Message]) -> list[Message]:
        """The messages with plain text where personal data is sealed.

        Raises:
            KeysUnavailable: a key cannot be had now.
        """
        return await readable(self._nc, messages)

    async def read(self, subject: str, *, after: int = 0, limit: int | None = None) -> list[Message]:
        """One aggregate's events, in order: all that were acknowledged before this call, or a part of them.

        A pattern of subjects is read as one sequence of events.

        `after`: events after this stream sequence.
        `limit`: maximum number of events.

        Raises:
            Unavailable: the event store cannot be reached, or has had no leader for `patience` seconds.
            KeysUnavailable: personal data of the events cannot be read now.
            PermissionError: this service may not read that.
        """
        with self._confirmed:
            events = await self._events.read(self._stream_of(subject), subject, after=after, limit=limit)
        return await self.readable(events)

    async def end_of(self, stream: str) -> int:
        """The stream's last sequence."""
        with self._confirmed:
            end = await reachable(self._jetstream.last_sequence(stream))
        if end is None:
            raise Unavailable(f"There is no stream {stream} yet.")
        return end

    async def end_before(self, stream: str, moment: datetime) -> int:
        """The last sequence before the events that were stored at `moment` or later."""
        with self._confirmed:
            first = await reachable(self._jetstream.first_since(stream, moment))
        return first.sequence - 1 if first else await self.end_of(stream)

    async def _sealed(self, appends: Sequence[Append]) -> Sequence[Append]:
        """The appends as they are to be stored, in the same order; their callers keep the plain ones."""
        personal = [append.envelope for append in appends if append.envelope.type in PERSONAL_TYPES]
        if not personal:
            return appends
        envelopes = await sealed(self._nc, personal)
        if envelopes is personal:
            return appends
        stored = iter(envelopes)
        return [
            msgspec.structs.replace(append, envelope=next(stored)) if append.envelope.type in PERSONAL_TYPES else append
            for append in appends
        ]
