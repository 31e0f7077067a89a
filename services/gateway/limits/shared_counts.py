"""Gateways tell each other what they have counted, through a stream that forgets: docs/decisions/0042.

Several times a second a gateway that has counted anything sends one message a limit, with all keys together, that
lives as long as the limit remembers. A gateway that starts reads what is there, so that a restart forgets nothing; one
that runs hears the others within moments. Nothing here is waited for by a request: while the stream is away each
gateway goes on with its own counts, and what was counted meanwhile is told later, if it still matters then.
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

from contracts.errors import Unavailable
from contracts.subjects import LIMITS, LIMITS_FILTER, limit_uses
from contracts.values.ids import new_id
from services.gateway.limits.rate_limiter import Limit, RateLimiter
from streams.jetstream.api import Refused
from streams.jetstream.requests import Inbox, RequestFailed
from streams.message import Message
from streams.reader import Reader, StreamWentBack
from streams.topology import DangerousStream, StreamMissing

log = logging.getLogger(__name__)
# Between two tellings, seconds; a client that goes from gateway to gateway gains what it can use in this time.
_EVERY = 0.25
_ATTEMPT = 2.0
# How long a gateway waits at its start for what the others have said, and at its end until they have heard it.
_START, _END = 3.0, 1.0
_PAUSE = 2.0
# Keys in one message, which stays far below what the server takes.
_KEYS_A_MESSAGE = 5_000
# Keys of one limit that wait for a stream that is away; what is beyond them is not told.
_WAITING = 50_000


class Uses(msgspec.Struct, frozen=True):
    """What one gateway has counted of one limit."""

    # Which gateway, since its start: it knows its own counts.
    by: str
    # How often, by the key's digest in base64; less than nothing where more was given back.
    uses: dict[str, int]


class _OutgoingCounts(msgspec.Struct):
    """A message on its way; its id keeps it from being stored twice when an answer was lost."""

    limit: Limit
    payload: bytes
    # Monotonic time.
    since: float
    id: str


_USES = msgspec.json.Decoder(Uses)


class SharedLimits:
    """Keeps a limiter's counts in step with those of all other gateways."""

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
        self._telling = asyncio.Lock()
        self._me = new_id()
        self._inbox = Inbox(nats)
        self._waiting: list[_OutgoingCounts] = []
        self._position = 0
        self._away = False
        # Set once everything that is in the stream has been heard.
        self.caught_up = asyncio.Event()

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Tells and hears meanwhile; begins when it has heard all there is, or cannot, and ends with a last telling."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in (self._tell_for_ever(), self._hear_for_ever())]
            try:
                await _at_most(_START, self.caught_up.wait())
                yield
                await _at_most(_END, self.publish())
            finally:
                for task in tasks:
                    task.cancel()

    async def publish(self) -> None:
        """Sends what was counted since the last time, and what could not be sent then."""
        async with self._telling:
            self._gather()
            while self._waiting:
                told = self._waiting[0]
                left = told.limit.refill_seconds - (self._clock() - told.since)
                if left > 0 and not await self._stored(told, left):
                    return
                self._waiting.pop(0)

    def receive(self, message: Message) -> None:
        """Adds what another gateway has counted, or this one before its start."""
        limit = self._limits.get(message.subject.rpartition(".")[2])
        try:
            said = _USES.decode(message.payload)
            uses = {base64.b64decode(key, validate=True): count for key, count in said.uses.items()}
        except (msgspec.DecodeError, ValueError) as error:
            log.warning("%s of %s is not understood: %s", message.sequence, LIMITS, error)
            return
        if limit is None or said.by == self._me:
            return
        stored_at = message.stored_at or datetime.now(UTC)
        self._limiter.merge_remote(limit, uses, ago=max(0.0, (datetime.now(UTC) - stored_at).total_seconds()))

    async def _tell_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            await self.publish()

    async def _hear_for_ever(self) -> None:
        while True:
            try:
                await self._make_stream()
                await self._follow()
            except StreamWentBack:
                # It was made anew; whatever is in it is new too.
                self._position = 0
            except (StreamMissing, DangerousStream, PermissionError, Unavailable, Refused, RequestFailed) as error:
                self._report(error)
            await asyncio.sleep(_PAUSE)

    async def _follow(self) -> None:
        async with Reader(
            self._nats, LIMITS, after=self._position, subject_filter=LIMITS_FILTER, name="limits"
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

    async def _stored(self, told: _OutgoingCounts, seconds: float) -> bool:
        headers = {"Nats-Msg-Id": told.id, "Nats-TTL": f"{max(1, math.ceil(seconds))}s"}
        try:
            answer = await self._inbox.request(
                limit_uses(told.limit.name), told.payload, timeout=_ATTEMPT, headers=headers
            )
        except RequestFailed as failure:
            self._report(failure)
            return False
        if b'"error"' in answer.data:
            self._report(answer.data.decode(errors="replace"))
            return False
        if self._away:
            log.info("rate limits are shared between gateways again")
            self._away = False
        return True

    def _report(self, reason: object) -> None:
        """Once for each time that the stream is away."""
        if not self._away:
            self._away = True
            log.warning("rate limits are counted by this gateway alone: %s", reason or type(reason).__name__)


async def _at_most(seconds: float, work: Awaitable[object]) -> None:
    try:
        await asyncio.wait_for(work, seconds)
    except TimeoutError:
        log.info("going on without the other gateways' counts")
