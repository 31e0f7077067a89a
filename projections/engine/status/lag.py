"""The lag of a read model behind its streams, as queried from NATS.

In events: those after its checkpoints that pass the projection's filters. In seconds: the time since NATS stored the
oldest of these; 0 if there is none. Dead letters count as applied here and are counted separately.
"""

import time
from uuid import uuid4

import msgspec
from nats.aio.client import Client as NATS
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from projections.engine.projection import Projection
from streams.jetstream.api import JetStream

_CONSUMER_SECONDS = 5.0
_PATIENCE = 2.0


class Lag(msgspec.Struct, frozen=True):
    events: int
    seconds: float


async def lag_of(nc: NATS, projection: type[Projection], position: dict[str, int], ends: dict[str, int]) -> Lag:
    """Returns the lag of a position; `ends`: the streams' last sequences.

    Raises:
        RequestFailed, Refused, nats.errors.Error: NATS does not answer, or refuses the request.
    """
    filters, events, seconds = projection.filters(), 0, 0.0
    for stream, sequence in position.items():
        behind = max(0, ends.get(stream, 0) - sequence)
        if not behind:
            continue
        subject_filter = filters.get(stream)
        lag = behind if subject_filter is None else await _count(nc, stream, subject_filter, sequence)
        if lag:
            events += lag
            seconds = max(seconds, await _age(nc, stream, subject_filter or ">", sequence))
    return Lag(events, round(seconds, 3))


async def _age(nc: NATS, stream: str, subject: str, after: int) -> float:
    """Seconds since the first event after the sequence was stored."""
    first = await JetStream(nc, patience=_PATIENCE).next(stream, subject, after)
    if first is None or first.stored_ns is None:
        return 0.0
    return max(0.0, time.time() - first.stored_ns / 1e9)


async def _count(nc: NATS, stream: str, subject_filter: str, after: int) -> int:
    """The number of events after the sequence that pass the filter, as the server counts them for a new consumer."""
    js = nc.jetstream(timeout=_PATIENCE)
    info = await js.add_consumer(
        stream,
        ConsumerConfig(
            name=f"operator-count-{uuid4().hex}",
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=after + 1,
            filter_subject=subject_filter,
            ack_policy=AckPolicy.NONE,
            mem_storage=True,
            inactive_threshold=_CONSUMER_SECONDS,
        ),
    )
    await js.delete_consumer(stream, info.name)
    return info.num_pending or 0
