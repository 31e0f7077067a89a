"""Shares rate-limit counts between gateways through a stream whose messages expire: docs/decisions/0042.

Several times a second a gateway with new counts publishes one message per limit, with all keys together; its TTL is
the limit's refill time. A gateway reads the stream at start, so that a restart loses no counts, and receives the
others' counts within moments while it runs. No request waits for this: while the stream is unavailable, each gateway
uses its own counts and publishes them later, if they still matter then.
"""

import asyncio
import base64
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
from nats.aio.client import Client as NATS

from contracts.errors import Unavailable, error_text
from contracts.subjects import LIMITS, LIMITS_FILTER, limit_uses
from contracts.values.ids import new_id
from services.gateway.limits.rate_limiter import Limit, RateLimiter
from streams.jetstream.api import Refused
from streams.jetstream.requests import Inbox, RequestFailed
from streams.message import Message
from streams.reader import Reader, StreamWentBack
from streams.topology import DangerousStream, StreamMissing

log = logging.getLogger(__name__)
# Seconds between publications; a client that switches between gateways gains what it can use in this time.
_EVERY = 0.25
_ATTEMPT = 2.0
# Seconds to wait: at start for the other gateways' counts, at the end for the last publication.
_START, _END = 3.0, 1.0
_PAUSE = 2.0
# Keys per message, which stays far below the server's size limit.
_KEYS_A_MESSAGE = 5_000
# Keys per limit that are queued while the stream is unavailable; more are not published.
_WAITING = 50_000


class Uses(msgspec.Struct, frozen=True):
    """Counts of one limit by one gateway."""

    # Id of the gateway since its start, so that it skips its own messages.
    by: str
    # Counts by the key's digest in base64; negative if more was refunded.
    uses: dict[str, int]


class _OutgoingCounts(msgspec.Struct):
    """A message to publish; its id deduplicates a retry after a lost acknowledgement."""

    limit: Limit
    payload: bytes
    # Monotonic time at which the counts were collected.
    since: float
    id: str


_USES = msgspec.json.Decoder(Uses)


class SharedLimits:
    """Exchanges a limiter's counts with all other gateways."""

    def __init__(
        self,
        nats: NATS,
        limiter: RateLimiter,
        limits: Iterable[Limit],
        *,
        make_stream: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nats = nats
        self._limiter = limiter
        self._limits = {limit.name: limit for limit in limits}
        self._make_stream = make_stream
        self._clock = clock
        self._publishing = asyncio.Lock()
        self._me = new_id()
        self._inbox = Inbox.of(nats)
        self._waiting: list[_OutgoingCounts] = []
        self._position = 0
        self._is_unreachable = False
        # Set once the whole stream has been read.
        self.caught_up = asyncio.Event()

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Exchanges counts while open; entering waits up to 3 s for the others' counts, leaving publishes once more."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in (self._publish_forever(), self._receive_forever())]
            try:
                await _at_most(_START, self.caught_up.wait())
                yield
                await _at_most(_END, self.publish())
            finally:
                for task in tasks:
                    task.cancel()

    async def publish(self) -> None:
        """Publishes new counts, and those that could not be published before."""
        async with self._publishing:
            self._gather()
            while self._waiting:
                counts = self._waiting[0]
                left = counts.limit.refill_seconds - (self._clock() - counts.since)
                if left > 0 and not await self._stored(counts, left):
                    return
                self._waiting.pop(0)

    def receive(self, message: Message) -> None:
        """Merges counts of another gateway, or of this one before its restart."""
        limit = self._limits.get(message.subject.rpartition(".")[2])
        try:
            remote_counts = _USES.decode(message.payload)
            uses = {base64.b64decode(key, validate=True): count for key, count in remote_counts.uses.items()}
        except (msgspec.DecodeError, ValueError) as error:
            log.warning("%s of %s is malformed: %s", message.sequence, LIMITS, error)
            return
        if limit is None or remote_counts.by == self._me:
            return
        stored_at = message.stored_at or datetime.now(UTC)
        self._limiter.merge_remote(limit, uses, ago=max(0.0, (datetime.now(UTC) - stored_at).total_seconds()))

    async def _publish_forever(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            await self.publish()

    async def _receive_forever(self) -> None:
        while True:
            try:
                await self._make_stream()
                await self._follow()
            except StreamWentBack:
                # The stream was recreated: read it from the beginning.
                self._position = 0
            except (StreamMissing, DangerousStream, PermissionError, Unavailable, Refused, RequestFailed) as error:
                self._report(error_text(error))
            await asyncio.sleep(_PAUSE)

    async def _follow(self) -> None:
        async with Reader(
            self._nats,
            LIMITS,
            after=self._position,
            subject_filter=LIMITS_FILTER,
            name="limits",
            outlasts_refusals=True,
        ) as reader:
            async for batch in reader.batches():
                for message in batch.messages:
                    self.receive(message)
                self._position = batch.position
                if batch.pending == 0:
                    self.caught_up.set()

    def _gather(self) -> None:
        now = self._clock()
        for name, uses in self._limiter.drain_local_counts().items():
            keys = list(uses.items())
            for first in range(0, len(keys), _KEYS_A_MESSAGE):
                if len(self._waiting) * _KEYS_A_MESSAGE >= _WAITING * len(self._limits):
                    return
                part = {base64.b64encode(key).decode(): count for key, count in keys[first : first + _KEYS_A_MESSAGE]}
                payload = msgspec.json.encode(Uses(self._me, part))
                self._waiting.append(_OutgoingCounts(self._limits[name], payload, now, new_id()))

    async def _stored(self, counts: _OutgoingCounts, seconds: float) -> bool:
        headers = {"Nats-Msg-Id": counts.id, "Nats-TTL": f"{max(1, math.ceil(seconds))}s"}
        try:
            answer = await self._inbox.request(
                limit_uses(counts.limit.name), counts.payload, timeout=_ATTEMPT, headers=headers
            )
        except RequestFailed as failure:
            self._report(error_text(failure))
            return False
        if b'"error"' in answer.data:
            self._report(answer.data.decode(errors="replace"))
            return False
        if self._is_unreachable:
            log.info("rate limits are shared between gateways again")
            self._is_unreachable = False
        return True

    def _report(self, reason: str) -> None:
        """Logs once per outage of the stream."""
        if not self._is_unreachable:
            self._is_unreachable = True
            log.warning("rate limits are counted by this gateway only: %s", reason)


async def _at_most(seconds: float, work: Awaitable[object]) -> None:
    try:
        await asyncio.wait_for(work, seconds)
    except TimeoutError:
        log.info("continuing without the other gateways' counts")
