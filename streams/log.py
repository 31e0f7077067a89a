"""The event log: append one event, append several atomically, read a subject, read its last event.

Every append names the last sequence it has seen on its subject. That condition, not the server's duplicate window,
prevents an event from being stored twice. Whatever the outcome of an attempt, its event can only be the next one on the
subject after that sequence, so one lookup there distinguishes *stored*, *another writer was first* and *not yet*.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from uuid import uuid4

import msgspec
from nats.aio.client import Client

from contracts import envelope, subjects
from contracts.deadlines import EVENT_STORE
from contracts.envelope import Envelope
from contracts.errors import DeadlineExceeded, HistoryLost, OutOfSpace, Overloaded, Unavailable
from contracts.tracing import spans
from streams.batching.append_spans import AppendSpans
from streams.batching.group_commit import Attempt, GroupCommit
from streams.jetstream import publish_ack
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.publish_ack import Ack, is_incomplete, needs_lookup, outcome_is_unknown
from streams.jetstream.raw_message import Delivered
from streams.jetstream.requests import Denied, NoAnswer, RequestFailed
from streams.jetstream.subject_reader import AggregateEvents, reachable
from streams.loss.watch import LossWatch
from streams.message import Message
from streams.metrics import Measured, measure_batch
from streams.personal_data.reading import readable
from streams.quorum import Quorum

_LOG = logging.getLogger(__name__)
_LARGEST_BATCH = 1000
# Maximum size of an append on one subject that may share a batch with other appends.
_SHARES = 64
# Seconds: the limit of one attempt, and the pause before the next.
_ATTEMPT = 2.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


class Append(msgspec.Struct, frozen=True, kw_only=True):
    """An event to append, and the condition of the append."""

    subject: str
    # The last sequence seen on the subject; 0 if none.
    expected: int
    envelope: Envelope


class Conflict(Exception):
    """Another writer appended to the subject; nothing of this append was stored."""

    def __init__(self, subject: str, expected: int) -> None:
        self.subject = subject
        self.expected = expected
        super().__init__(f"{subject} has moved on from {expected}")


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
        self._patience = patience
        self._stream_of = stream_of
        self._jetstream = JetStream(nc, patience=patience)
        self._events = AggregateEvents(self._jetstream)
        self._inbox = self._jetstream.inbox
        self._group_commit = group_commit
        self._groups: dict[str, GroupCommit[Append]] = {}
        self._spans = AppendSpans()
        self._confirmed: AbstractContextManager[None] = quorum or nullcontext()
        # Whether there are replicas, so that a leader's answer may be stale.
        self.replicated = quorum is not None
        self._watches = watches or {}
        # Whether the last event was refused for lack of space.
        self._is_full = False

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
        """
        stream = self._stream_of(append.subject)
        span = self._spans.begin(stream, [append.envelope]) if spans.is_on() else None
        with Measured(stream, 1, span, conflict=Conflict):
            return (await self._append(stream, (append,)))[0]

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
        span = self._spans.begin(stream, [append.envelope for append in appends]) if spans.is_on() else None
        with Measured(stream, len(appends), span, conflict=Conflict):
            if len(subjects) == 1 and len(appends) <= _SHARES:
                return await self._append(stream, appends)
            return await self._append_with_retry(appends, self._send_together)

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

    async def read(
        self,
        subject: str,
        *,
        after: int = 0,
        limit: int | None = None,
        from_version: int = 1,
        until_version: int | None = None,
        at: datetime | None = None,
    ) -> list[Message]:
        """One aggregate's events, in order: all that were acknowledged before this call, or a part of them.

        A pattern of subjects is read as one sequence of events, with `after` and `limit` only.

        `after`: events after this stream sequence.
        `limit`: maximum number of events.
        `from_version`, `until_version`: the aggregate's versions, both included.
        `at`: the events at a moment: those before the first one that was decided later.

        Raises:
            Unavailable: the event store cannot be reached, or has had no leader for `patience` seconds.
            KeysUnavailable: personal data of the events cannot be read now.
            PermissionError: this service may not read that.
        """
        stream = self._stream_of(subject)
        plain = until_version is None and at is None and from_version == 1
        # Versions are dense: this many events include the last one wanted, wherever the read begins.
        enough = limit if plain else until_version
        with self._confirmed:
            events = await self._events.read(stream, subject, after=after, limit=enough)
        if not plain:
            events = _part(events, from_version, until_version, at)[:limit]
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

    async def _append(self, stream: str, appends: Sequence[Append]) -> list[int]:
        """Appends events on one subject, alone or in a batch shared with other appends."""
        send = self._send_one if len(appends) == 1 else self._send_together
        if not self._group_commit:
            return await self._append_with_retry(appends, send)
        group = self._groups.get(stream)
        if group is None:
            group = self._groups[stream] = GroupCommit(self._try_together, _subject)
        deadline = time.monotonic() + self._patience
        try:
            attempt = await group.acquire(appends, deadline)
        except TimeoutError as error:
            raise Unavailable from error
        if attempt.sequence is not None:
            return list(range(attempt.sequence, attempt.sequence + len(appends)))
        begun, took = time.monotonic(), None
        try:
            stored = await self._append_with_retry(appends, send, uncertain=attempt.uncertain, deadline=deadline)
            if len(appends) == 1 and not attempt.uncertain:
                took = time.monotonic() - begun
            return stored
        finally:
            group.release(took)

    async def _append_with_retry(
        self,
        appends: Sequence[Append],
        send: Callable[[Sequence[Append], float], Awaitable[Ack]],
        *,
        uncertain: bool = False,
        deadline: float | None = None,
    ) -> list[int]:
        """Retries until the outcome is known or the deadline has passed.

        `uncertain`: whether an earlier attempt may have taken effect, or may still do so.
        """
        deadline = deadline or time.monotonic() + self._patience
        pause = _FIRST_PAUSE
        watch = self._watches.get(self._stream_of(appends[0].subject))
        why: Exception | None = None
        while time.monotonic() < deadline:
            try:
                if uncertain and (stored := await self._resolve_outcome_by(deadline, appends)) is not None:
                    return stored
                if watch is not None:
                    await watch.assert_whole()
                # Computed here: a look-up may have taken most of the time.
                if (left := deadline - time.monotonic()) <= 0:
                    break
                ack = await send(appends, min(left, _ATTEMPT))
                if ack.error is None and not ack.duplicate:
                    self._report_space(False)
                    first = ack.seq - len(appends) + 1
                    if watch is not None:
                        watch.acknowledged(first, ack.seq)
                    return list(range(first, ack.seq + 1))
                uncertain = outcome_is_unknown(ack, uncertain)
                if needs_lookup(ack) and (stored := await self._resolve_outcome_by(deadline, appends)) is not None:
                    return stored
            except Denied as denied:
                raise PermissionError(f"no right to append to {appends[0].subject}") from denied
            except (Overloaded, HistoryLost, Unavailable) as refusal:
                if isinstance(refusal, OutOfSpace):
                    self._report_space(True)
                # This refers to the last attempt; an earlier one may have been stored while there was space.
                if uncertain:
                    raise DeadlineExceeded from refusal
                raise
            except RequestFailed as failure:
                uncertain = uncertain or failure.uncertain
                why = failure
                if failure.final:
                    break
            except Refused as refused:
                # While a cluster elects a leader, the lookup is refused too.
                if not refused.may_pass:
                    raise
                why = refused
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        if uncertain:
            raise DeadlineExceeded from why
        raise Unavailable from why

    def _report_space(self, is_full: bool) -> None:
        if is_full == self._is_full:
            return
        self._is_full = is_full
        if is_full:
            _LOG.error("the event store has no space left and refuses events; see docs/runbooks/out-of-space.md")
        else:
            _LOG.info("the event store accepts events again")

    async def _try_together(self, appends: list[Sequence[Append]]) -> list[Attempt]:
        """Makes one attempt at a batch of unrelated appends; those not stored are then settled one by one."""
        uncertain = False
        events = [event for append in appends for event in append]
        stream = self._stream_of(events[0].subject)
        measure_batch(stream, len(events))
        if spans.is_on():
            self._spans.share([append[0].envelope.id for append in appends], len(events))
        watch = self._watches.get(stream)
        try:
            if watch is not None:
                await watch.assert_whole()
            ack = await self._send_batch(events, _ATTEMPT)
            if ack.error is None and not ack.duplicate:
                self._report_space(False)
                if watch is not None:
                    watch.acknowledged(ack.seq - len(events) + 1, ack.seq)
                firsts = itertools.accumulate(map(len, appends), initial=ack.seq - len(events) + 1)
                return [Attempt(first) for first, _ in zip(firsts, appends, strict=False)]
            uncertain = outcome_is_unknown(ack, uncertain)
        except RequestFailed as failure:
            uncertain = failure.uncertain
        except (Refused, Overloaded, HistoryLost, Unavailable, ValueError):
            pass
        return [Attempt(uncertain=uncertain)] * len(appends)

    async def _resolve_outcome_by(self, deadline: float, appends: Sequence[Append]) -> list[int] | None:
        """Resolves the outcome by the deadline; on failure it is uncertain, whatever the attempt's answer said."""
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await self._resolve_outcome(appends)
        except Denied:
            raise
        except (TimeoutError, RequestFailed) as failure:
            raise NoAnswer from failure
        except Refused as refused:
            if not refused.may_pass:
                raise
            raise NoAnswer from refused

    async def _resolve_outcome(self, appends: Sequence[Append]) -> list[int] | None:
        """Looks up the outcome of the append: the events' sequences, or None if they are not stored yet.

        Raises:
            Conflict: they are not stored and never will be.
            NoAnswer: the first of them are stored, and the last is not.
        """
        first_on: dict[str, int] = {}
        for index, append in enumerate(appends):
            first_on.setdefault(append.subject, index)
        for index in first_on.values():
            append = appends[index]
            first = await self._first_after(append)
            if first is None:
                continue
            # One lookup per subject: an attempt in flight may be stored between two lookups, which is no conflict.
            if first.event_id() != append.envelope.id:
                raise Conflict(append.subject, append.expected)
            begin = first.sequence - index
            end = begin + len(appends)
            if end - 1 != first.sequence and not await self._is_stored_at(appends[-1], end - 1):
                # The server was interrupted while it wrote the batch, and has not completed it.
                raise NoAnswer
            return list(range(begin, end))
        return None

    async def _is_stored_at(self, append: Append, sequence: int) -> bool:
        message = await self._jetstream.at(self._stream_of(append.subject), sequence)
        return message is not None and message.event_id() == append.envelope.id

    async def _first_after(self, append: Append) -> Message | None:
        return await self._jetstream.next(self._stream_of(append.subject), append.subject, append.expected)

    async def _send_one(self, appends: Sequence[Append], timeout: float) -> Ack:
        (append,) = appends
        answer = await self._inbox.request(
            append.subject, envelope.encode(append.envelope), headers=self._headers(append), timeout=timeout
        )
        return publish_ack.decode(answer.data)

    async def _send_together(self, appends: Sequence[Append], timeout: float) -> Ack:
        """Sends one batch; if a message of it was refused or lost, sends it again to get the reason. Bounded in all."""
        deadline = time.monotonic() + timeout
        ack = await self._send_batch(appends, timeout)
        if is_incomplete(ack) and (left := deadline - time.monotonic()) > 0:
            return await self._send_batch(appends, left, answered=True)
        return ack

    async def _send_batch(self, appends: Sequence[Append], timeout: float, *, answered: bool = False) -> Ack:
        """Requests a reply to the last message only: a reply to each costs a sixth of the server's work, for nothing.

        `answered`: requests a reply to each message, to get the reason of a refusal.
        """
        batch, deadline = uuid4().hex, time.monotonic() + timeout
        seen: set[str] = set()
        async with self._inbox.open_reply(_speaks) as (reply, answer):
            for number, append in enumerate(appends, 1):
                headers = self._headers(append, conditional=append.subject not in seen)
                headers |= {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
                is_last = number == len(appends)
                if is_last:
                    headers["Nats-Batch-Commit"] = "1"
                seen.add(append.subject)
                payload, to = envelope.encode(append.envelope), reply if is_last or answered else ""
                # Each publish may wait for a connection.
                left = max(deadline - time.monotonic(), 0.0)
                await self._inbox.publish(append.subject, payload, reply=to, headers=headers, timeout=left)
            await self._inbox.wait(answer, appends[-1].subject, max(deadline - time.monotonic(), 0.0))
        return publish_ack.decode(answer.messages[-1].data)

    def _headers(self, append: Append, *, conditional: bool = True) -> dict[str, str]:
        headers = {"Nats-Msg-Id": append.envelope.id, "Nats-Expected-Stream": self._stream_of(append.subject)}
        if conditional:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(append.expected)
        return headers


def _subject(append: Append) -> str:
    return append.subject


def _part(messages: list[Message], first: int, last: int | None, at: datetime | None) -> list[Message]:
    part: list[Message] = []
    for message in messages:
        opened = message.envelope()
        if (last is not None and opened.version > last) or (at is not None and opened.at > at):
            break
        if opened.version >= first:
            part.append(message)
    return part


def _speaks(message: Delivered) -> bool:
    # Messages of a batch before the commit get an empty reply, unless they are refused.
    return bool(message.data)
