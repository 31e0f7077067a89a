"""Reactions to events: each event is delivered to one of all replicas, and redelivered until its effect is done.

A reaction is not a projection: its position is a durable JetStream consumer shared by all replicas, so that losing the
database repeats nothing. Delivery is at least once; the effect makes itself idempotent with an event of its own.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from contracts.durable_consumers import Durable
from contracts.envelope import Recorded, now
from contracts.errors import VestnikError
from contracts.events.event import Event
from contracts.tracing.spans import Span, SpanKind, child
from streams.message import Message

_LOG = logging.getLogger(__name__)

# Seconds.
_FETCH_WAIT = 2.0
_LONGEST_PAUSE = 300.0
# For an effect in progress when the process stops.
_LAST_WAIT = 5.0
# Between two requests when the first was refused immediately.
_BREATH = 0.05


class RetryLater(Exception):
    """The effect is not possible now; it is retried later."""

    # Level of its log line.
    level = logging.WARNING

    def __init__(self, message: str, *, after: float = 0.0) -> None:
        """`after`: seconds before which another attempt is useless."""
        super().__init__(message)
        self.after = after


class EventReactor:
    """One durable consumer and the reaction to its events.

    Events of one aggregate may be delivered concurrently or out of order; the effect must tolerate both.
    """

    def __init__(
        self,
        nc: Client,
        durable: Durable,
        react: Callable[[Recorded[Event]], Awaitable[None]],
        *,
        at_once: int = 4,
        ack_wait: float = 30.0,
        first_pause: float = 1.0,
    ) -> None:
        """
        `at_once`: concurrent effects in this process.
        `ack_wait`: seconds after which an event of a failed process is redelivered to another.
        `first_pause`: seconds until the next attempt; doubled with each, up to five minutes.
        """
        self._jetstream = nc.jetstream()
        self._durable = durable
        self._react = react
        self._at_once = at_once
        self._ack_wait = ack_wait
        self._first_pause = first_pause

    async def run(self) -> None:
        """Handles events until cancelled; requests that NATS refuses or loses are retried."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._at_once):
                workers.create_task(self._work())

    async def _work(self) -> None:
        pause = self._first_pause
        while True:
            try:
                async for message in self._messages():
                    await self._handle(message)
                    pause = self._first_pause
            except (NatsError, VestnikError, OSError) as error:
                # The stream does not exist yet, its leader is changing, or the connection is down.
                _LOG.info("%s waits %.0f s: %s", self._durable.name, pause, error or type(error).__name__)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _messages(self) -> AsyncIterator[Msg]:
        """The consumer's events, one by one: each worker fetches for itself, one event at a time."""
        durable = self._durable
        deliver_policy, start_time = await self._start()
        await self._jetstream.add_consumer(
            durable.stream,
            ConsumerConfig(
                # With `name`, the request carries name and filter in its subject, where the server checks them.
                name=durable.name,
                durable_name=durable.name,
                filter_subject=durable.subject_filter,
                deliver_policy=deliver_policy,
                opt_start_time=start_time,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=self._ack_wait,
                max_deliver=-1,
                max_ack_pending=durable.most_pending,
            ),
        )
        subscription = await self._jetstream.pull_subscribe_bind(durable.name, durable.stream)
        try:
            while True:
                _stop_if_cancelled()
                try:
                    fetched = await subscription.fetch(1, timeout=_FETCH_WAIT)
                except NatsTimeout:
                    # No event. Any other time-out means that no consumer answered: it is created again.
                    await asyncio.sleep(_BREATH)
                    continue
                for message in fetched:
                    yield message
        finally:
            await subscription.unsubscribe()

    async def _start(self) -> tuple[DeliverPolicy | None, datetime | None]:
        """Where the consumer begins; NATS accepts no other start for a consumer that exists."""
        durable = self._durable
        if durable.max_age is None:
            return DeliverPolicy.ALL, None
        try:
            existing = (await self._jetstream.consumer_info(durable.stream, durable.name)).config
        except NotFoundError:
            # Whole minutes, so that replicas that create it at the same time agree.
            start = (now() - durable.max_age).replace(second=0, microsecond=0)
            return DeliverPolicy.BY_START_TIME, start
        return existing.deliver_policy, existing.opt_start_time

    async def _handle(self, message: Msg) -> None:
        """Settles the event; an effect in progress may finish within 5 s when the process stops."""
        work = asyncio.create_task(self._settle(message))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            _, unfinished = await asyncio.wait({work}, timeout=_LAST_WAIT)
            for task in unfinished:
                task.cancel()
                await asyncio.wait({task})
            raise

    async def _settle(self, message: Msg) -> None:
        sign_of_life = asyncio.create_task(self._keep(message))
        sequence = message.metadata.sequence.stream
        span: Span | None = None
        failure = ""
        try:
            event = Message(self._durable.stream, sequence, message.subject, message.data).open()
            span = self._begin_span(event)
            if span is not None:
                event = msgspec.structs.replace(event, traceparent=span.traceparent)
            await self._react(event)
        except (RetryLater, VestnikError) as error:
            failure = type(error).__name__
            pause = min(self._first_pause * 2 ** min(message.metadata.num_delivered - 1, 16), _LONGEST_PAUSE)
            level = logging.WARNING
            if isinstance(error, RetryLater):
                level, pause = error.level, max(pause, error.after)
            _LOG.log(level, "%s retries event %d in %.0f s: %s", self._durable.name, sequence, pause, error)
            await message.nak(delay=pause)
        except Exception as error:
            failure = type(error).__name__
            # Retried, since a later release may be able to handle it; no event may block the others.
            _LOG.exception("%s cannot handle event %d of %s", self._durable.name, sequence, self._durable.stream)
            await message.nak(delay=_LONGEST_PAUSE)
        else:
            await message.ack()
        finally:
            sign_of_life.cancel()
            await asyncio.wait({sign_of_life})
            if span is not None:
                span.end(failure)

    def _begin_span(self, event: Recorded[Event]) -> Span | None:
        """The span of one attempt; None if the event's trace is not sampled."""
        span = child(event.traceparent, SpanKind.CONSUMER, "react", self._durable.name)
        if span is not None:
            span.set("messaging.system", "nats")
            span.set("messaging.operation.name", "react")
            span.set("messaging.operation.type", "process")
            span.set("messaging.destination.name", self._durable.stream)
            span.set("messaging.consumer.group.name", self._durable.name)
            span.set("vestnik.event.type", event.type)
        return span

    async def _keep(self, message: Msg) -> None:
        while True:
            await asyncio.sleep(self._ack_wait / 3)
            await message.in_progress()


def _stop_if_cancelled() -> None:
    """Repeats a cancellation that was lost: `asyncio.wait_for` of Python 3.11 drops one that arrives with a result.

    nats-py fetches with it, so a worker would go on, and its process never stop.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
