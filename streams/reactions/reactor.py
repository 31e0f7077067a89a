"""Reactions to events: each event is delivered to one of all replicas, and redelivered until its effect is done.

A reaction is not a projection: its position is a durable JetStream consumer shared by all replicas, so that losing the
database repeats nothing. Delivery is at least once; the effect makes itself idempotent with an event of its own. An
event whose effect goes on failing is parked, and the others go on.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from contracts.durable_consumers import Durable, retries_of
from contracts.envelope import Recorded
from contracts.errors import OutOfSpace, Unavailable, VestnikError, error_text
from contracts.events.event import Event
from contracts.tracing.spans import Span, SpanKind, child
from streams.cancellation import stop_if_cancelled
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.key_value import Changed
from streams.jetstream.requests import RequestFailed
from streams.message import Message
from streams.personal_data.reading import readable
from streams.reactions.consumer import DurableConsumer
from streams.reactions.metrics import ATTEMPTS, LAG, PARKED, SECONDS, WAITING
from streams.reactions.parked import ParkedEvent, ParkedEvents, decode_parked
from streams.reactions.retries import DEFAULT_RETRIES, Retries, RetryLater, UnknownEvent, may_pass
from streams.reactions.status import consumer_state
from streams.reader import Reader

_LOG = logging.getLogger(__name__)

# Seconds between two attempts to reach a consumer, at most.
_LONGEST_PAUSE = 300.0
# Seconds for an effect in progress when the process stops.
_LAST_WAIT = 5.0
# Seconds that a request for a retry waits at the server: operators rarely request one.
_RETRY_REQUEST_SECONDS = 10.0
# Seconds to read the event of a retry.
_READ_WITHIN = 10.0
# Seconds between two reports of the reaction's figures.
_REPORTS_EVERY = 10.0

Effect = Callable[[Recorded[Event]], Awaitable[None]]


class EventReactor:
    """One durable consumer and the reaction to its events.

    Events of one aggregate may be delivered concurrently or out of order; the effect must tolerate both.
    """

    def __init__(
        self,
        nc: Client,
        durable: Durable,
        react: Effect,
        *,
        at_once: int = 4,
        ack_wait: float = 30.0,
        retries: Retries = DEFAULT_RETRIES,
    ) -> None:
        """
        `at_once`: concurrent effects in this process.
        `ack_wait`: seconds after which an event of a failed process is redelivered to another.
        """
        self._nc = nc
        self._durable = durable
        self._react = react
        self._at_once = at_once
        self._retries = retries
        self._parked = ParkedEvents.of(nc, durable.service)
        self._events = DurableConsumer(nc, durable, ack_wait=ack_wait)
        self._requested = DurableConsumer(
            nc, retries_of(durable), ack_wait=ack_wait, request_seconds=_RETRY_REQUEST_SECONDS
        )

    async def run(self) -> None:
        """Handles events until cancelled; requests that NATS refuses or loses are retried."""
        async with asyncio.TaskGroup() as workers:
            workers.create_task(self._work(self._durable.name, self._events, self._settle, self._at_once))
            workers.create_task(self._work(retries_of(self._durable).name, self._requested, self._retry, 1))
            workers.create_task(self._report())

    async def _report(self) -> None:
        """Reports lag, waiting and parked events until cancelled."""
        name = self._durable.name
        jetstream = JetStream(self._nc)
        while True:
            with suppress(VestnikError, Refused, RequestFailed):
                if (state := await consumer_state(jetstream, self._durable)) is not None:
                    LAG.labels(name).set(state.num_pending)
                    WAITING.labels(name).set(state.num_ack_pending)
                PARKED.labels(name).set((await self._parked.counts())[name])
            await asyncio.sleep(_REPORTS_EVERY)

    async def _work(
        self, name: str, consumer: DurableConsumer, handle: Callable[[Msg], Awaitable[None]], at_once: int
    ) -> None:
        """Handles the consumer's messages, up to `at_once` of them concurrently; requests none that would wait here."""
        pause = self._retries.first_pause
        handling: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    async with aclosing(consumer.messages(lambda: at_once - len(handling))) as messages:
                        async for message in messages:
                            pause = self._retries.first_pause
                            task = tasks.create_task(self._handle(name, consumer, message, handle))
                            handling.add(task)
                            task.add_done_callback(handling.discard)
                            await _until_fewer(handling, at_once)
                except (NatsError, VestnikError, OSError, ValueError, KeyError) as error:
                    stop_if_cancelled()
                    # The stream does not exist yet, its leader is changing, the connection is down, or what the server
                    # answered cannot be read.
                    _LOG.info("%s waits %.0f s: %s", name, pause, error_text(error))
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)

    async def _handle(
        self, name: str, consumer: DurableConsumer, message: Msg, handle: Callable[[Msg], Awaitable[None]]
    ) -> None:
        try:
            await _shielded(self._kept(consumer, message, handle))
        except (NatsError, VestnikError, OSError) as error:
            _LOG.info("%s could not settle an event, which is delivered again: %s", name, error_text(error))

    async def _kept(self, consumer: DurableConsumer, message: Msg, handle: Callable[[Msg], Awaitable[None]]) -> None:
        sign_of_life = asyncio.create_task(consumer.keep(message))
        try:
            await handle(message)
        finally:
            sign_of_life.cancel()
            await asyncio.wait({sign_of_life})

    async def _settle(self, delivered: Msg) -> None:
        attempt = delivered.metadata.num_delivered
        message = Message(self._durable.stream, delivered.metadata.sequence.stream, delivered.subject, delivered.data)
        try:
            # Parked by a process that failed, or lost its connection, before the acknowledgement.
            if attempt > self._retries.tries and await self._parked.is_parked(self._durable, message):
                await delivered.ack()
                return
            await self._attempt(message)
        except Exception as error:
            if self._retries.are_used_up(attempt, error) and await self._park(message, error, attempt):
                await delivered.ack()
                self._count("parked")
                return
            is_failure = not isinstance(error, RetryLater) or error.is_failure
            self._count("failed" if is_failure else "waiting")
            pause = self._retries.pause(attempt, error)
            self._log_failure(message.sequence, pause, error)
            await delivered.nak(delay=pause)
        else:
            await delivered.ack()
            self._count("done")

    def _count(self, outcome: str) -> None:
        ATTEMPTS.labels(self._durable.name, outcome).inc()

    async def _attempt(self, message: Message) -> None:
        """Attempts the effect of an event, in a span.

        Raises:
            UnknownEvent: this release cannot read it.
            KeysUnavailable: its personal data cannot be read now.
            Exception: the effect failed.
        """
        (message,) = await readable(self._nc, [message])
        try:
            event = message.open()
        except (LookupError, msgspec.DecodeError) as error:
            raise UnknownEvent(f"the event cannot be read: {error}") from error
        span = self._begin_span(event)
        begun = time.perf_counter()
        failure = ""
        try:
            if span is not None:
                event = msgspec.structs.replace(event, traceparent=span.traceparent)
            await self._react(event)
        except Exception as error:
            failure = type(error).__name__
            raise
        finally:
            SECONDS.labels(self._durable.name).observe(time.perf_counter() - begun)
            if span is not None:
                span.end(failure)

    async def _park(self, message: Message, error: Exception, attempts: int) -> bool:
        """Parks the event; false if that is not possible now."""
        try:
            await self._parked.park(self._durable, message, _described(error), attempts)
        except (Changed, OutOfSpace, Unavailable) as refusal:
            _LOG.warning(
                "%s cannot park event %d: %s", self._durable.name, message.sequence, refusal.__cause__ or refusal
            )
            return False
        _LOG.error(
            "%s has parked event %d of %s after %d attempts",
            self._durable.name,
            message.sequence,
            message.stream,
            attempts,
            exc_info=error,
        )
        return True

    async def _retry(self, delivered: Msg) -> None:
        """Attempts a parked event once, if this change of its value requests that."""
        name, sequence = delivered.subject, delivered.metadata.sequence.stream
        parked = decode_parked(Message("", sequence, name, delivered.data))
        if parked is None or parked.state != "retrying":
            await delivered.ack()
            return
        try:
            try:
                await self._attempt(await self._event_of(parked))
            except Exception as error:
                _LOG.warning("%s retried event %d: %s", self._durable.name, parked.sequence, error_text(error))
                await self._parked.failed_again(parked, _described(error))
            else:
                await self._parked.applied(parked)
        except Changed:
            # By an operator, or by another replica that took this process for dead.
            pass
        except (OutOfSpace, Unavailable):
            await delivered.nak(delay=self._retries.first_pause)
            return
        await delivered.ack()

    async def _event_of(self, parked: ParkedEvent) -> Message:
        """
        Raises:
            LookupError: the stream does not contain the event.
            VestnikError, TimeoutError: it cannot be read now.
        """
        durable = self._durable
        async with (
            asyncio.timeout(_READ_WITHIN),
            Reader(
                self._nc,
                durable.stream,
                after=parked.sequence - 1,
                subject_filter=durable.subject_filter,
                name=f"retry-{durable.name}",
            ) as reader,
        ):
            async for batch in reader.batches(limit=1):
                for message in batch.messages:
                    if message.sequence == parked.sequence:
                        return message
                if batch.messages or batch.pending == 0:
                    break
        raise LookupError(f"{durable.stream} no longer contains the event")

    def _log_failure(self, sequence: int, pause: float, error: Exception) -> None:
        name = self._durable.name
        if not isinstance(error, RetryLater) and not may_pass(error):
            _LOG.error("%s cannot handle event %d of %s", name, sequence, self._durable.stream, exc_info=error)
            return
        level = error.level if isinstance(error, RetryLater) else logging.WARNING
        _LOG.log(level, "%s retries event %d in %.0f s: %s", name, sequence, pause, error)

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


async def _until_fewer(handling: set[asyncio.Task[None]], count: int) -> None:
    """Waits until fewer than `count` are left in the set, from which each removes itself at its end."""
    while len(handling) >= count:
        await asyncio.wait(handling, return_when=asyncio.FIRST_COMPLETED)


async def _shielded(handling: Awaitable[None]) -> None:
    """Awaits the handling of a message; what is in progress may finish within 5 s when the process stops."""
    work = asyncio.ensure_future(handling)
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        _, unfinished = await asyncio.wait({work}, timeout=_LAST_WAIT)
        for task in unfinished:
            task.cancel()
            await asyncio.wait({task})
        raise


def _described(error: Exception) -> str:
    # The first line only: in errors of the database, others quote values of rows.
    text = str(error).partition("\n")[0]
    name = type(error).__name__
    return f"{name}: {text}" if text else name
