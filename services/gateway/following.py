"""Following one stream of another service, with a sign of life that those who rely on it can ask for."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import uuid4

from nats.aio.client import Client as NATS
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.client import JetStreamContext

from contracts.subjects import PUBLIC_FILTERS
from streams.message import Message
from streams.reader import Reader

log = logging.getLogger(__name__)
# After so long without a word from the stream what is known may be out of date.
SILENCE_SECONDS = 5.0
_PAUSE = 0.25

Start = Callable[[JetStreamContext, str], Awaitable[int]]


class Follower:
    """Hands every public event of a stream to `handle`, in order, without a gap, from `start` on."""

    def __init__(self, nats: NATS, stream: str, *, start: Start, handle: Callable[[Message], None], name: str) -> None:
        self._nats = nats
        self._start = start
        self._handle = handle
        self._name = name
        self._heard = float("-inf")
        self._caught_up = False
        self.stream = stream
        # Everything up to this sequence has been handled.
        self.position = 0

    @property
    def alive(self) -> bool:
        """Whether it has caught up once and has heard from the stream within the last 5 s."""
        return self._caught_up and time.monotonic() - self._heard < SILENCE_SECONDS

    async def run(self) -> None:
        """Follows until it is cancelled."""
        after = await self._beginning()
        self.position = after
        subject_filter = PUBLIC_FILTERS[self.stream]
        async with Reader(
            self._nats, self.stream, after=after, subject_filter=subject_filter, name=self._name
        ) as reader:
            async for batch in reader.batches():
                for message in batch.messages:
                    self._handle(message)
                self.position = max(self.position, batch.position)
                self._heard = time.monotonic()
                if batch.pending == 0:
                    self._caught_up = True

    async def _beginning(self) -> int:
        """Where to start; asked until the stream is there and answers."""
        context = self._nats.jetstream()
        told = False
        while True:
            try:
                return await self._start(context, self.stream)
            except (NatsError, TimeoutError) as error:
                if not told:
                    log.info("waiting for the stream %s: %s", self.stream, error or type(error).__name__)
                    told = True
            await asyncio.sleep(_PAUSE)


async def from_now(context: JetStreamContext, stream: str) -> int:
    """The stream's end."""
    info = await context.stream_info(stream)
    return int(info.state.last_seq)


def from_time(moment: Callable[[], datetime]) -> Start:
    """The last sequence before a time: where a consumer that starts at that time would begin."""

    async def find(context: JetStreamContext, stream: str) -> int:
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
