"""Restores stored events at their original sequences, for a stream that is rebuilt from an archive.

The condition is on the stream and not on a subject: an event is stored at its sequence, directly after the previous
one, or not at all. An append of another writer takes one of these sequences, which is detected immediately.
"""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import msgspec
from nats.aio.client import Client

from contracts.errors import DeadlineExceeded, Unavailable
from streams.jetstream import publish_ack
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.publish_ack import Ack, outcome_is_unknown, says_repeated
from streams.jetstream.raw_message import Delivered
from streams.jetstream.requests import Denied, RequestFailed

# Headers of the original append's condition and batch; they are not part of the event.
_OF_THE_APPEND = ("Nats-Expected-", "Nats-Batch-")
# Seconds: the limit of one attempt, and the pause before the next.
_ATTEMPT = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
# Seconds that a server may take to store a batch, from its first event to its last.
_STORING = 1.0
# After this many refusals as a duplicate while the events are not stored, the duplicate is not one of our own attempts.
_REPEATED = 6


class ArchivedMessage(msgspec.Struct, frozen=True, array_like=True):
    """A stored message in an archive; its sequence is that of the previous message plus one."""

    subject: str
    payload: bytes
    # Those that belong to the event, notably `Nats-Msg-Id`; not those of its append.
    headers: dict[str, str]

    @property
    def size(self) -> int:
        """Bytes that count against the server's limit, without the headers that restoring adds."""
        return len(self.payload) + sum(len(name) + len(value) + 4 for name, value in self.headers.items())


class SequenceMismatch(Exception):
    """The stream does not have the expected event at a sequence."""

    def __init__(self, stream: str, sequence: int) -> None:
        self.stream = stream
        self.sequence = sequence
        super().__init__(f"event {sequence:,} of {stream} is not the expected one")


class IdTaken(Exception):
    """The stream has another event with the same id, stored recently."""

    def __init__(self, stream: str, sequence: int) -> None:
        self.stream = stream
        self.sequence = sequence
        super().__init__(f"from event {sequence:,} of {stream} on, an event has the id of an earlier one")


def kept_headers(headers: dict[str, str] | None) -> dict[str, str]:
    """The stored headers of a message that belong to the event."""
    return {name: value for name, value in (headers or {}).items() if not name.startswith(_OF_THE_APPEND)}


def last_of_batch(headers: dict[str, str] | None) -> bool:
    """Whether the message is the last of its batch, or was not stored in a batch."""
    headers = headers or {}
    return "Nats-Batch-Id" not in headers or "Nats-Batch-Commit" in headers


class StreamRestorer:
    """Fills one stream, as its owner."""

    def __init__(self, nc: Client, stream: str, *, patience: float = 30.0) -> None:
        """`patience`: seconds for which a batch is retried; more than a cluster needs to elect a leader."""
        self._stream = stream
        self._patience = patience
        self._jetstream = JetStream(nc, patience=patience)
        self._inbox = self._jetstream.inbox

    async def put(self, first: int, events: Sequence[ArchivedMessage]) -> None:
        """Stores up to 1,000 events at the sequences from `first` on: all or none, durable when this returns.

        Idempotent: a repeated call stores nothing twice.

        Raises:
            SequenceMismatch: the stream has another event at one of these sequences, or has not reached the first.
            IdTaken: an event has the id of another one.
            Unavailable, OutOfSpace: not stored; the event store cannot be reached, or has no space.
            DeadlineExceeded: whether they were stored could not be determined in time.
            PermissionError: this user may not append there.
            ValueError: an event is larger than the server accepts.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        pause = _FIRST_PAUSE
        uncertain, refusals = False, 0
        why: Exception | None = None
        while (left := deadline - loop.time()) > 0:
            try:
                ack = await self._send(first, events, min(left, _ATTEMPT))
                if ack.error is None and not ack.duplicate:
                    if ack.seq != first + len(events) - 1:
                        raise SequenceMismatch(self._stream, first)
                    return
                uncertain = outcome_is_unknown(ack, uncertain)
                if await self._stored(first, events):
                    return
                # In a cluster a retry is briefly refused as a duplicate, too, while an earlier attempt is in flight.
                refusals += says_repeated(ack)
                if refusals >= _REPEATED:
                    raise IdTaken(self._stream, first)
            except Denied as denied:
                raise PermissionError(f"no right to append to {self._stream}") from denied
            except RequestFailed as failure:
                uncertain = uncertain or failure.uncertain
                why = failure
                if failure.final:
                    break
            except Refused as refused:
                if not refused.may_pass:
                    raise
                why = refused
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        if uncertain:
            raise DeadlineExceeded from why
        raise Unavailable from why

    async def _stored(self, first: int, events: Sequence[ArchivedMessage]) -> bool:
        """Whether the events are stored at their sequences; False while those are free.

        Raises:
            SequenceMismatch: they are not, and never can be.
        """
        last = first + len(events) - 1
        end = await self._end(first, last)
        if end == first - 1:
            return False
        for sequence in {first, last}:
            message = await self._jetstream.at(self._stream, sequence) if sequence <= end else None
            event = events[sequence - first]
            if message is None or (message.subject, message.payload) != (event.subject, event.payload):
                raise SequenceMismatch(self._stream, min(sequence, end + 1))
        return True

    async def _end(self, first: int, last: int) -> int:
        """The stream's last sequence; waits up to 1 s while it is within the batch.

        In a cluster a batch becomes visible event by event, and another process may be storing the same one.
        """
        deadline = asyncio.get_running_loop().time() + _STORING
        while True:
            end = (await self._jetstream.info(self._stream)).state.last_seq
            if not first <= end < last or asyncio.get_running_loop().time() > deadline:
                return end
            await asyncio.sleep(_FIRST_PAUSE)

    async def _send(self, first: int, events: Sequence[ArchivedMessage], timeout: float) -> Ack:
        """Requests replies to the first message, which has the condition, and the last; any refusal fails the last."""
        batch, last = uuid4().hex, len(events)
        async with self._inbox.open_reply(_speaks) as (reply, answer):
            for number, event in enumerate(events, 1):
                headers = dict(event.headers)
                if number == 1:
                    headers |= {"Nats-Expected-Stream": self._stream, "Nats-Expected-Last-Sequence": str(first - 1)}
                if last > 1:
                    headers |= {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
                    if number == last:
                        headers["Nats-Batch-Commit"] = "1"
                answers_to = reply if number in (1, last) else ""
                await self._inbox.publish(
                    event.subject, event.payload, reply=answers_to, headers=headers, timeout=timeout
                )
            await self._inbox.wait(answer, events[-1].subject, timeout)
        return publish_ack.decode(answer.messages[-1].data)


def _speaks(message: Delivered) -> bool:
    # Messages of a batch before the commit get an empty reply, unless they are refused.
    return bool(message.data)
