"""Append, append several as one, read, last: the event log as the rest of the house sees it.

Every append names the last sequence it has seen on its subject. That condition, not the server's window for
duplicates, is what keeps an event from being stored twice: whatever becomes of an attempt, its event can only ever
stand directly behind that sequence, so one look there tells *stored* from *somebody else was first* from *not yet*.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import uuid4

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts import envelope
from contracts.envelope import Envelope
from contracts.errors import DeadlineExceeded, Unavailable
from contracts.subjects import stream_of
from streams import acknowledgement
from streams.acknowledgement import Ack, leaves_uncertain
from streams.inbox import Denied, RequestFailed
from streams.jetstream import JetStream, Refused
from streams.message import Message

_LARGEST_BATCH = 1000
# In seconds: how long one attempt may take, and how long to wait before the next.
_ATTEMPT = 2.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


A = TypeVar("A")


class Append(msgspec.Struct, frozen=True, kw_only=True):
    """An event to be stored, and what must still hold when it is."""

    subject: str
    # The last sequence seen on the subject; 0 where there was none.
    expected: int
    envelope: Envelope


class Conflict(Exception):
    """Somebody else appended to the subject; nothing of this was stored."""

    def __init__(self, subject: str, expected: int) -> None:
        self.subject = subject
        self.expected = expected
        super().__init__(f"{subject} has moved on from {expected}")


class Log:
    def __init__(self, nc: Client, *, patience: float = 10.0) -> None:
        """`patience`: seconds for which an append is tried again; more than a cluster needs for a new leader."""
        self._patience = patience
        self._jetstream = JetStream(nc, patience=patience)
        self._inbox = self._jetstream.inbox

    async def append(self, append: Append) -> int:
        """Stores one event on its condition; it is durable when this returns.

        Returns:
            Its sequence in the stream. The same event appended again has the same one, however late.

        Raises:
            Conflict: the subject has moved on; this event is not stored.
            Unavailable, Overloaded: not stored; the event store cannot be reached, or has no space.
            DeadlineExceeded: whether it was stored could not be found out in time.
            PermissionError: this service may not append there; told at once.
            ValueError: the event is larger than the server takes.
        """
        return (await self._store([append], self._send_one))[0]

    async def append_together(self, appends: Sequence[Append]) -> list[int]:
        """Stores several events of one stream, all or none, as one atomic batch.

        Of several on one subject, in order, the first one's condition counts.

        Returns:
            Their sequences, in the order given, without a gap.

        Raises:
            As `append`; `Conflict` names the first subject found that has moved on.
            ValueError: the events do not fit into one batch.
        """
        if not appends:
            return []
        if len(appends) > _LARGEST_BATCH or len({stream_of(append.subject) for append in appends}) > 1:
            raise ValueError(f"a batch is up to {_LARGEST_BATCH} events of one stream")
        return await self._store(appends, self._send_one if len(appends) == 1 else self._send_batch)

    async def last(self, subject: str) -> Message | None:
        """The subject's last event, from the stream's leader: what was acknowledged before is seen."""
        return await _reachable(self._jetstream.last(stream_of(subject), subject))

    async def last_sequence(self, subject: str) -> int:
        """The sequence of the subject's last event, from the stream's leader; 0 if there is none."""
        last = await self.last(subject)
        return last.sequence if last else 0

    async def read(self, subject: str, *, after: int = 0) -> list[Message]:
        """One aggregate's events behind a sequence, in order: all that were acknowledged before this call."""
        stream = stream_of(subject)
        last, found = await asyncio.gather(self.last_sequence(subject), self._read_any(stream, subject, after))
        while (found[-1].sequence if found else after) < last:
            # The replica that answered lags behind: the rest comes from the leader.
            behind = found[-1].sequence if found else after
            message = await _reachable(self._jetstream.next(stream, subject, behind))
            if message is None:
                raise Unavailable
            found.append(message)
        return found

    async def end_of(self, stream: str) -> int:
        """The stream's last sequence."""
        return (await _reachable(self._jetstream.info(stream))).state.last_seq

    async def end_before(self, stream: str, moment: datetime) -> int:
        """The sequence behind which everything stored at a moment or later stands."""
        first = await _reachable(self._jetstream.first_since(stream, moment))
        return first.sequence - 1 if first else await self.end_of(stream)

    async def _read_any(self, stream: str, subject: str, after: int) -> list[Message]:
        messages: list[Message] = []
        more = True
        while more:
            behind = messages[-1].sequence if messages else after
            try:
                page, more = await self._jetstream.many(stream, subject, behind)
            except RequestFailed:
                return messages
            messages += page
            more = more and bool(page)
        return messages

    async def _store(
        self, appends: Sequence[Append], send: Callable[[Sequence[Append], float], Awaitable[Ack]]
    ) -> list[int]:
        """Tries until it is known what became of the events, or the patience is at its end."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        pause = _FIRST_PAUSE
        # Whether an attempt may have taken effect, or may still do so.
        uncertain = False
        why: Exception | None = None
        while (left := deadline - loop.time()) > 0:
            try:
                if uncertain and (stored := await self._settle(appends)) is not None:
                    return stored
                ack = await send(appends, min(left, _ATTEMPT))
                if ack.error is None and not ack.duplicate:
                    return list(range(ack.seq - len(appends) + 1, ack.seq + 1))
                uncertain = leaves_uncertain(ack, uncertain)
                if (stored := await self._settle(appends)) is not None:
                    return stored
            except Denied as denied:
                raise PermissionError(f"no right to append to {appends[0].subject}") from denied
            except RequestFailed as failure:
                uncertain = uncertain or failure.uncertain
                why = failure
                if failure.final:
                    break
            except Refused as refused:
                # While a cluster elects a leader, looking for the event is refused too.
                if not refused.may_pass:
                    raise
                why = refused
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        if uncertain:
            raise DeadlineExceeded from why
        raise Unavailable from why

    async def _settle(self, appends: Sequence[Append]) -> list[int] | None:
        """Finds out what became of the events: their sequences, or None where they are not stored as yet.

        Raises:
            Conflict: they are not stored and never can be.
        """
        first_on: dict[str, int] = {}
        for place, append in enumerate(appends):
            first_on.setdefault(append.subject, place)
        for place in first_on.values():
            append = appends[place]
            found = await self._behind(append)
            if found is None:
                continue
            # Looked at once for each: an attempt still on its way may land between two looks, and is no conflict then.
            if found.event_id() != append.envelope.id:
                raise Conflict(append.subject, append.expected)
            begin = found.sequence - place
            return list(range(begin, begin + len(appends)))
        return None

    async def _behind(self, append: Append) -> Message | None:
        return await self._jetstream.next(stream_of(append.subject), append.subject, append.expected)

    async def _send_one(self, appends: Sequence[Append], timeout: float) -> Ack:
        (append,) = appends
        answer = await self._inbox.request(
            append.subject, envelope.encode(append.envelope), headers=_headers(append), timeout=timeout
        )
        return acknowledgement.decode(answer.data)

    async def _send_batch(self, appends: Sequence[Append], timeout: float) -> Ack:
        """Every message has the reply subject, so that a refusal of any is heard; only the last is acknowledged."""
        batch = uuid4().hex
        seen: set[str] = set()
        async with self._inbox.conversation(_speaks) as (reply, answer):
            for number, append in enumerate(appends, 1):
                headers = _headers(append, conditional=append.subject not in seen)
                headers |= {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
                if number == len(appends):
                    headers["Nats-Batch-Commit"] = "1"
                seen.add(append.subject)
                payload = envelope.encode(append.envelope)
                await self._inbox.publish(append.subject, payload, reply=reply, headers=headers, timeout=timeout)
            await self._inbox.wait(answer, appends[-1].subject, timeout)
        return acknowledgement.decode(answer.messages[-1].data)


def _headers(append: Append, *, conditional: bool = True) -> dict[str, str]:
    headers = {"Nats-Msg-Id": append.envelope.id, "Nats-Expected-Stream": stream_of(append.subject)}
    if conditional:
        headers["Nats-Expected-Last-Subject-Sequence"] = str(append.expected)
    return headers


def _speaks(message: Msg) -> bool:
    # A batch's messages before the commit are answered with nothing, unless they are refused.
    return bool(message.data)


async def _reachable(reading: Awaitable[A]) -> A:
    """Says in the house's words that the event store did not answer."""
    try:
        return await reading
    except Denied as denied:
        raise PermissionError("no right to read this stream") from denied
    except RequestFailed as failure:
        raise Unavailable from failure
    except Refused as refused:
        if refused.may_pass:
            raise Unavailable from refused
        raise
