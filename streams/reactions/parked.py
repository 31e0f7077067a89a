"""Parked events: events whose reaction has given up for now. An operator has them retried, or discards them.

They are in a key-value bucket of the reaction's service, so they depend on no database. An event is parked before it is
acknowledged; a crash in between delivers it again, and it is found to be parked. A bucket that is full accepts no more:
its events are attempted again and again instead. What is settled expires after 90 days.

A retry is a value with the state `retrying`: the reaction consumes the changes of its keys (`reactor.py`), so that one
of the service's replicas attempts it, also when all of them are down at the moment.
"""

import logging
from collections import Counter
from collections.abc import AsyncGenerator
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
    # Empty if it is not one of our events.
    type: str
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
        # The parked events by reaction, as of that sequence of the bucket's stream; None: there is no bucket.
        self._counts: Counter[str] = Counter()
        self._counted_at: int | None = None

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
        """All parked and settled events, in the order of their last changes.

        Raises:
            Unavailable: the event store does not answer.
        """
        after, more = 0, True
        while more:
            try:
                messages, more = await self._jetstream.many(self._stream, key_of(self._bucket, ">"), after)
            except RequestFailed as failure:
                raise Unavailable from failure
            for message in messages:
                after = message.sequence
                if (parked := decode_parked(message)) is not None:
                    yield parked

    async def counts(self) -> Counter[str]:
        """How many events each reaction has parked; read again only after a change.

        Raises:
            Unavailable: the event store does not answer.
        """
        try:
            last = await self._jetstream.last_sequence(self._stream)
        except (Refused, RequestFailed) as failure:
            raise Unavailable from failure
        if last != self._counted_at:
            self._counts = Counter()
            if last is not None:
                self._counts.update([parked.reaction async for parked in self.all() if not parked.is_settled])
            self._counted_at = last
        return self._counts

    async def park(self, durable: Durable, message: Message, event_type: str, error: str, attempts: int) -> None:
        """Parks an event, unless it is parked already.

        Raises:
            Unavailable: it is unknown whether it is parked, or the bucket is full.
        """
        at = now()
        parked = ParkedEvent(
            reaction=durable.name,
            stream=message.stream,
            sequence=message.sequence,
            subject=message.subject,
            type=event_type,
            state="parked",
            error=error[:_LONGEST_ERROR],
            attempts=attempts,
            parked_at=at,
            tried_at=at,
        )
        try:
            await self._put(parked)
        except Changed:
            return

    async def request_retry(self, parked: ParkedEvent) -> ParkedEvent:
        """Has the reaction attempt the event again.

        Raises:
            Changed: it was changed meanwhile.
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


def _key(parked: ParkedId) -> str:
    return f"{parked.reaction}.{parked.sequence}"
