"""Follows one stream of another service, and reports whether it is up to date."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol
from uuid import uuid4

import msgspec
from nats.aio.client import Client as NATS
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from contracts.errors import KeysUnavailable, error_text
from contracts.subjects import PUBLIC_FILTERS
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed
from streams.message import Message
from streams.personal_data.metrics import KeysUnreachable
from streams.personal_data.reading import PersonalData, readable
from streams.reader import ReadBatch, Reader

log = logging.getLogger(__name__)
# Seconds without reaching the stream's end after which the state may be out of date.
SILENCE_SECONDS = 5.0
_PAUSE = 0.25
# Seconds between two attempts to read while keys of personal data cannot be had.
_KEYS_PAUSE = 1.0
# Seconds to wait for keys that their store does not have: longer than a cluster takes to elect a leader.
_KEYS_PATIENCE = 15.0
# Seconds until the next such wait, after one that ended without the keys.
_IMPATIENT_SECONDS = 60.0
# Messages per batch.
_MOST = 5_000

# Finds the sequence of a stream after which to start; None: there is no such stream yet.
Start = Callable[[NATS, str], Awaitable[int | None]]
# Fetches the last sequence of a stream; None if there is no such stream.
LastSequence = Callable[[str], Awaitable[int | None]]


class StreamListener(Protocol):
    """Also receives what a follower reads, so that a stream has one consumer."""

    def on_start(self, stream: str, sequence: int) -> None:
        """Events after this sequence follow."""

    def on_batch(self, stream: str, batch: ReadBatch) -> None:
        """The next events, and the position reached with them."""


class StreamFollower:
    """Passes every public event of a stream to `handle`, in order and without gaps, from `start` on.

    An event whose keys of personal data are lost is passed on as it is stored after some seconds, and cannot be opened:
    one lost key must not end the following. While the store of keys does not answer, everything waits.
    """

    def __init__(
        self,
        nats: NATS,
        stream: str,
        *,
        start: Start,
        name: str,
        handle: Callable[[Message], None] | None = None,
        silence: float = SILENCE_SECONDS,
        personal_data: PersonalData = PersonalData.PLAIN,
    ) -> None:
        """
        `silence`: seconds without reaching the stream's end after which it is not `alive`.
        `personal_data`: what is passed in place of sealed personal data.
        """
        self._nats = nats
        self._personal_data = personal_data
        self._start = start
        self._handle = handle
        self._name = name
        self._silence = silence
        # When the stream's end was last reached (`time.monotonic`).
        self._at_end = float("-inf")
        # When the look-up of keys that is under way began; None: there is none.
        self._unsealing_since: float | None = None
        # When it waits for keys again.
        self._patient_from = float("-inf")
        self.stream = stream
        # Everything up to this sequence has been handled.
        self.position = 0
        # Set before `run`.
        self.listener: StreamListener | None = None

    @property
    def alive(self) -> bool:
        """Whether the stream's end was reached within `silence`; a first message after an outage is not enough.

        Of a wait for keys of personal data the first seconds do not count.
        """
        return time.monotonic() - self._uncounted() - self._at_end < self._silence

    async def run(self) -> None:
        """Follows until cancelled."""
        after = await self._beginning()
        self.position = after
        if self.listener is not None:
            self.listener.on_start(self.stream, after)
        subject_filter = PUBLIC_FILTERS[self.stream]
        # However long an outage lasts, and whatever a node says in it: not `alive` meanwhile.
        async with Reader(
            self._nats,
            self.stream,
            after=after,
            subject_filter=subject_filter,
            name=self._name,
            patience=math.inf,
            outlasts_refusals=True,
            personal_data=PersonalData.STORED,
        ) as reader:
            while True:
                batch = await reader.next(_MOST)
                batch = msgspec.structs.replace(batch, messages=await self._unsealed(batch.messages))
                if self._handle is not None:
                    for message in batch.messages:
                        self._handle(message)
                self.position = max(self.position, batch.position)
                if self.listener is not None:
                    self.listener.on_batch(self.stream, batch)
                if batch.pending == 0:
                    self._at_end = time.monotonic()

    def _uncounted(self) -> float:
        """Seconds of the wait for keys of personal data that is under way, as far as it does not count as silence."""
        return 0.0 if self._unsealing_since is None else min(time.monotonic() - self._unsealing_since, _KEYS_PATIENCE)

    async def _unsealed(self, messages: list[Message]) -> list[Message]:
        """The messages with their personal data; as stored where keys are lost."""
        begun = self._unsealing_since = time.monotonic()
        try:
            try:
                return await self._readable(messages, begun + _KEYS_PATIENCE if begun >= self._patient_from else begun)
            except KeysUnavailable:
                unsealed = await self._unsealed_separately(messages)
                self._patient_from = time.monotonic() + _IMPATIENT_SECONDS
                return unsealed
        finally:
            self._at_end += self._uncounted()
            self._unsealing_since = None

    async def _unsealed_separately(self, messages: list[Message]) -> list[Message]:
        """The messages with their personal data; as stored where keys cannot be had now. Looks in halves: most can."""
        try:
            return await self._readable(messages, time.monotonic())
        except KeysUnavailable:
            if len(messages) == 1:
                log.error("%s goes on without the personal data of event %d", self._name, messages[0].sequence)
                return messages
        half = len(messages) // 2
        return [
            *await self._unsealed_separately(messages[:half]),
            *await self._unsealed_separately(messages[half:]),
        ]

    async def _readable(self, messages: list[Message], until: float) -> list[Message]:
        """The messages with their personal data. Waits for as long as the store of keys does not answer.

        Raises:
            KeysUnavailable: at `until` (`time.monotonic`) a key is lost.
        """
        is_logged = False
        while True:
            try:
                return await readable(self._nats, messages, self._personal_data)
            except KeysUnavailable as error:
                if not isinstance(error, KeysUnreachable) and time.monotonic() >= until:
                    raise
                if not is_logged:
                    log.warning("%s waits after %d: %s", self._name, self.position, error)
                    is_logged = True
            await asyncio.sleep(_KEYS_PAUSE)

    async def _beginning(self) -> int:
        """The sequence after which to start; retried until the stream exists and answers."""
        logged = False
        while True:
            reason = "not there yet"
            try:
                start = await self._start(self._nats, self.stream)
                if start is not None:
                    return start
            except (NatsError, TimeoutError, RequestFailed, Refused) as error:
                reason = error_text(error)
            if not logged:
                log.info("waiting for the stream %s: %s", self.stream, reason)
                logged = True
            await asyncio.sleep(_PAUSE)


async def from_end(nats: NATS, stream: str) -> int | None:
    """The stream's last sequence."""
    return await JetStream(nats).last_sequence(stream)


def from_time(moment: Callable[[], datetime]) -> Start:
    """The last sequence before a time: where a consumer that starts at that time begins."""

    async def find(nats: NATS, stream: str) -> int:
        context = nats.jetstream()
        consumer = await context.add_consumer(
            stream,
            ConsumerConfig(
                name=f"gateway-start-{uuid4().hex}",
                deliver_policy=DeliverPolicy.BY_START_TIME,
                opt_start_time=moment(),
                ack_policy=AckPolicy.NONE,
                filter_subject=PUBLIC_FILTERS[stream],
                inactive_threshold=5,
                mem_storage=True,
            ),
        )
        try:
            return int(consumer.delivered.stream_seq) if consumer.delivered else 0
        finally:
            await context.delete_consumer(stream, consumer.name)

    return find
