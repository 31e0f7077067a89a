"""What operators see of a reaction: its state, its lag, its rate, and how many events wait or are parked."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from datetime import datetime

import msgspec
from nats.aio.client import Client

from contracts.durable_consumers import Durable
from contracts.envelope import now
from streams.jetstream.api import JetStream, Refused
from streams.reactions.parked import ParkedEvents

_NO_CONSUMER, _NO_STREAM = 10014, 10059
# Seconds between the two readings from which a rate is counted.
_BETWEEN = 0.5
_RUNNING, _STOPPED, _MISSING, _UNKNOWN = "running", "stopped", "missing", "unknown"


class _Sequences(msgspec.Struct, frozen=True):
    # Of deliveries, redeliveries included; and of the stream.
    consumer_seq: int = 0
    stream_seq: int = 0


class ConsumerState(msgspec.Struct, frozen=True):
    """A durable consumer at its server."""

    delivered: _Sequences = _Sequences()
    # Up to here everything is settled.
    ack_floor: _Sequences = _Sequences()
    # Events not delivered yet; events delivered and not settled; requests of processes that wait for an event.
    num_pending: int = 0
    num_ack_pending: int = 0
    num_waiting: int = 0

    @property
    def is_served(self) -> bool:
        return self.num_waiting > 0


class ReactionStatus(msgspec.Struct, frozen=True, kw_only=True):
    # The name of its durable consumer.
    name: str
    service: str
    stream: str
    # `running`; `stopped`: no process asks for events; `missing`: none ever has; `unknown`: NATS does not answer.
    state: str
    # Up to this sequence of the stream every event is done or parked.
    position: int
    # Events that no process has attempted yet; None if unknown.
    lag: int | None
    # Seconds since the oldest of those was stored; 0 if there is none.
    lag_seconds: float | None
    # Events that wait for their next attempt, or are attempted now.
    waiting: int
    # Attempts since the consumer was created, and a second.
    attempts: int
    attempts_per_second: float
    parked: int


_STATE = msgspec.json.Decoder(ConsumerState)


async def consumer_state(jetstream: JetStream, durable: Durable) -> ConsumerState | None:
    """The consumer's state; None if it does not exist.

    Raises:
        Refused, RequestFailed: the server refused, or did not answer.
    """
    try:
        return await jetstream.ask(f"CONSUMER.INFO.{durable.stream}.{durable.name}", None, _STATE)
    except Refused as refused:
        if refused.error.err_code in (_NO_CONSUMER, _NO_STREAM):
            return None
        raise


async def reaction_statuses(nc: Client, durables: Iterable[Durable], *, patience: float) -> list[ReactionStatus]:
    """The status of each reaction, by an operator's connection.

    Raises:
        Unavailable, Refused, RequestFailed: the server does not answer.
    """
    jetstream = JetStream(nc, patience=patience)
    durables = list(durables)
    services = sorted({durable.service for durable in durables})
    parked: Counter[str] = Counter()
    for counts in await asyncio.gather(*(ParkedEvents.of(nc, service).counts() for service in services)):
        parked.update(counts)
    return list(await asyncio.gather(*(_status(jetstream, durable, parked[durable.name]) for durable in durables)))


def unknown_reactions(durables: Iterable[Durable]) -> list[ReactionStatus]:
    """The statuses while NATS does not answer."""
    return [_of(durable, _UNKNOWN, None, None, None, 0.0, 0) for durable in durables]


async def _status(jetstream: JetStream, durable: Durable, parked: int) -> ReactionStatus:
    before = await consumer_state(jetstream, durable)
    await asyncio.sleep(_BETWEEN)
    after = await consumer_state(jetstream, durable)
    if before is None or after is None:
        return _of(durable, _MISSING, None, None, None, 0.0, parked)
    is_served = before.is_served or after.is_served or after.num_ack_pending > before.num_ack_pending
    rate = max(0, after.delivered.consumer_seq - before.delivered.consumer_seq) / _BETWEEN
    lag_seconds = await _lag_seconds(jetstream, durable, after)
    return _of(
        durable, _RUNNING if is_served or rate else _STOPPED, after, after.num_pending, lag_seconds, rate, parked
    )


async def _lag_seconds(jetstream: JetStream, durable: Durable, state: ConsumerState) -> float:
    if not state.num_pending:
        return 0.0
    oldest = await jetstream.next(durable.stream, durable.subject_filter, state.delivered.stream_seq)
    stored_at: datetime | None = None if oldest is None else oldest.stored_at
    return 0.0 if stored_at is None else max(0.0, (now() - stored_at).total_seconds())


def _of(
    durable: Durable,
    state: str,
    consumer: ConsumerState | None,
    lag: int | None,
    lag_seconds: float | None,
    rate: float,
    parked: int,
) -> ReactionStatus:
    return ReactionStatus(
        name=durable.name,
        service=durable.service,
        stream=durable.stream,
        state=state,
        position=consumer.ack_floor.stream_seq if consumer else 0,
        lag=lag,
        lag_seconds=None if lag_seconds is None else round(lag_seconds, 1),
        waiting=consumer.num_ack_pending if consumer else 0,
        attempts=consumer.delivered.consumer_seq if consumer else 0,
        attempts_per_second=round(rate, 1),
        parked=parked,
    )
