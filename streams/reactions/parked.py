"""Parked events: events whose reaction has given up for now. An operator has them retried, or discards them.

They are in a key-value bucket of the reaction's service, so they depend on no database. An event is parked before it is
acknowledged; a crash in between delivers it again, and it is found to be parked. A bucket that is full accepts no more:
its events are attempted again and again instead. What is settled expires after 90 days.

A retry is a value with the state `retrying`: the reaction consumes the changes of its keys (`reactor.py`), so that one
of the service's replicas attempts it, also when all of them are down at the moment.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import NamedTuple, Self

import msgspec
from nats.aio.client import Client

from contracts.durable_consumers import Durable
from contracts.envelope import now
from contracts.errors import Unavailable
from contracts.subjects import key_of, parked_by, stream_of_bucket
from streams.jetstream.api import STREAM_NOT_FOUND, JetStream, Refused
from streams.jetstream.key_value import Changed, KeyValue
from streams.jetstream.requests import RequestFailed
from streams.message import Message

_LOG = logging.getLogger(__name__)
_LONGEST_ERROR = 2_000
# How long it is shown what became of an event.
_SETTLED_DAYS = 90


class ParkedId(NamedTuple):
    """The id of a parked event, for operators: `profile-creation.AUTH.17`."""

    reaction: str
    stream: str
    sequence: int

    def __str__(self) -> str:
        return f"{self.reaction}.{self.stream}.{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Raises:
            ValueError: the text is not the id of a parked event.
        """
        reaction, stream, sequence = text.split(".")
        if not reaction or not stream or not sequence.isascii() or not sequence.isdigit():
            raise ValueError(text)
        return cls(reaction, stream, int(sequence))


class ParkedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event whose reaction has given up for now, or what became of it."""

    # The name of the reaction's durable consumer.
    reaction: str
    stream: str
    sequence: int
    subject: str
    # Both empty if it is not one of our events; the id also of those that an earlier release has parked.
    type: str
    event_id: str = ""
    # `parked`, `retrying`, `applied` or `discarded`; a later release may have others, which count as not settled.
    state: str
    # Why the last attempt failed.
    error: str
    # Attempts so far, without those before the last restart of the event store's server.
    attempts: int
    parked_at: datetime
    tried_at: datetime
    # Who discarded it, when and why.
    discarded_by: str = ""
    discarded_at: datetime | None = None
    reason: str = ""
    # Of the value in the bucket: the condition of its next change. Not stored.
    revision: int = 0

    @property
    def id(self) -> ParkedId:
        return ParkedId(self.reaction, self.stream, self.sequence)

    def is_of(self, message: Message) -> bool:
        """Whether this is the message's event, not another one at the same sequence that the stream has lost since."""
        return self.subject == message.subject and self.event_id in ("", _type_and_id(message)[1])

    @property
    def is_settled(self) -> bool:
        return self.state in ("applied", "discarded")


class ParkedEvents:
    """The parked events of one service's reactions."""

    def __init__(self, nc: Client, service: str, *, patience: float = 5.0) -> None:
        """`patience`: seconds to wait for the event store."""
        self._bucket = parked_by(service)
        self._stream = stream_of_bucket(self._bucket)
        self._values = KeyValue(nc, self._bucket, patience=patience)
        self._jetstream = JetStream(nc, patience=patience)
        # The reactions of the events that are not settled, by the subject of the value, up to that sequence of the
        # bucket's stream.
        self._not_settled: dict[str, str] = {}
        self._read_up_to = 0
        self._counting = asyncio.Lock()

    @classmethod
    def of(cls, nc: Client, service: str) -> Self:
        """The connection's view of them, which keeps what it has counted as long as the connection lasts."""
        shared: dict[str, Self] = vars(nc)
        return shared.setdefault(f"_vestnik_parked_{service}", cls(nc, service))

    async def get(self, parked: ParkedId) -> ParkedEvent | None:
        """The event from the leader's copy; None if it was never parked, or settled long ago.

        Raises:
            Unavailable: the event store does not answer.
        """
        try:
            message = await self._jetstream.last(self._stream, key_of(self._bucket, _key(parked)))
        except Refused as refused:
            if refused.error.err_code == STREAM_NOT_FOUND:
                return None
            raise Unavailable from refused
        except RequestFailed as failure:
            raise Unavailable from failure
        return None if message is None else decode_parked(message)

    async def all(self) -> AsyncGenerator[ParkedEvent, None]:
        """Reads all parked and settled events, in the order of their last changes.

        Raises:
            Unavailable: the event store does not answer.
        """
        if await self._last_sequence() is None:
            return
        async with aclosing(self._values_after(0)) as messages:
            async for message in messages:
                if (parked := decode_parked(message)) is not None:
                    yield parked

    async def counts(self) -> Counter[str]:
        """Counts the parked events of each reaction; reads only what was changed since the last call.

        Raises:
            Unavailable: the event store does not answer.
        """
        async with self._counting:
            last = await self._last_sequence()
            if last is None or last < self._read_up_to:
                # There is no bucket, or it is another one.
                self._not_settled, self._read_up_to = {}, 0
            if last is not None and last > self._read_up_to:
                await self._read_changes()
            return Counter(self._not_settled.values())

    async def is_parked(self, durable: Durable, message: Message) -> bool:
        """Whether the event is parked, or was settled.

        Raises:
            Unavailable: the event store does not answer.
        """
        stored = await self.get(ParkedId(durable.name, message.stream, message.sequence))
        return stored is not None and stored.is_of(message)

    async def park(self, durable: Durable, message: Message, error: str, attempts: int) -> None:
        """Parks an event, unless it is parked already.

        Raises:
            Changed: it was changed meanwhile.
            OutOfSpace: it is not parked; the bucket is full, or the event store has no space.
            Unavailable: it is unknown whether it is parked.
        """
        at = now()
        event_type, event_id = _type_and_id(message)
        parked = ParkedEvent(
            reaction=durable.name,
            stream=message.stream,
            sequence=message.sequence,
            subject=message.subject,
            type=event_type,
            event_id=event_id,
            state="parked",
            error=error[:_LONGEST_ERROR],
            attempts=attempts,
            parked_at=at,
            tried_at=at,
        )
        try:
            await self._put(parked)
        except Changed:
            stored = await self.get(parked.id)
            if stored is None or stored.is_of(message):
                return
            # Of an event at the same sequence that the stream has lost since.
            await self._put(msgspec.structs.replace(parked, revision=stored.revision))

    async def request_retry(self, parked: ParkedEvent) -> ParkedEvent:
        """Has the reaction attempt the event again.

        Raises:
            Changed: it was changed meanwhile.
            OutOfSpace: it is not attempted; the event store has no space.
            Unavailable: it is unknown whether it is attempted.
        """
        return await self._put(msgspec.structs.replace(parked, state="retrying"))

    async def discard(self, parked: ParkedEvent, reason: str, by: str) -> ParkedEvent:
        """Discards the event: its effect is never done.

        Raises: as `request_retry` does.
        """
        return await self._put(
            msgspec.structs.replace(parked, state="discarded", reason=reason, discarded_by=by, discarded_at=now())
        )

    async def applied(self, parked: ParkedEvent) -> None:
        """Settles an event whose effect a retry has done.

        Raises: as `request_retry` does.
        """
        await self._put(msgspec.structs.replace(parked, state="applied", tried_at=now(), attempts=parked.attempts + 1))

    async def failed_again(self, parked: ParkedEvent, error: str) -> None:
        """Parks an event again whose retry failed.

        Raises: as `request_retry` does.
        """
        await self._put(
            msgspec.structs.replace(
                parked,
                state="parked",
                error=error[:_LONGEST_ERROR],
                tried_at=now(),
                attempts=parked.attempts + 1,
            )
        )

    async def _last_sequence(self) -> int | None:
        try:
            return await self._jetstream.last_sequence(self._stream)
        except (Refused, RequestFailed) as failure:
            raise Unavailable from failure

    async def _values_after(self, after: int) -> AsyncGenerator[Message, None]:
        """The last values of the keys; of a replica that may lack the newest ones."""
        more = True
        while more:
            try:
                messages, more = await self._jetstream.many(self._stream, key_of(self._bucket, ">"), after)
            except RequestFailed as failure:
                raise Unavailable from failure
            for message in messages:
                after = message.sequence
                yield message

    async def _read_changes(self) -> None:
        async with aclosing(self._values_after(self._read_up_to)) as messages:
            async for message in messages:
                parked = decode_parked(message)
                if parked is None or parked.is_settled:
                    self._not_settled.pop(message.subject, None)
                else:
                    self._not_settled[message.subject] = parked.reaction
                self._read_up_to = message.sequence

    async def _put(self, parked: ParkedEvent) -> ParkedEvent:
        stored = msgspec.structs.replace(parked, revision=0)
        revision = await self._values.put_if(
            _key(parked.id),
            msgspec.json.encode(stored),
            revision=parked.revision,
            days=_SETTLED_DAYS if parked.is_settled else None,
        )
        return msgspec.structs.replace(parked, revision=revision)


def decode_parked(message: Message) -> ParkedEvent | None:
    """The event of a value in the bucket; None for a deleted value, or one that this release cannot read."""
    if not message.payload:
        return None
    try:
        parked = msgspec.json.decode(message.payload, type=ParkedEvent)
    except msgspec.DecodeError as error:
        _LOG.warning("the parked event at %s cannot be read: %s", message.subject, error)
        return None
    return msgspec.structs.replace(parked, revision=message.sequence)


def _type_and_id(message: Message) -> tuple[str, str]:
    try:
        envelope = message.envelope()
    except msgspec.DecodeError:
        return "", ""
    return envelope.type, envelope.id


def _key(parked: ParkedId) -> str:
    return f"{parked.reaction}.{parked.sequence}"
