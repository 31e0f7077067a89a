"""How the builds of read models are doing, as an operator asks."""

from collections.abc import Sequence
from uuid import uuid4

import msgspec
from nats.aio.client import Client as NATS
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from projections.engine import builds
from projections.engine.builds import Connection
from projections.engine.projection import Projection

_MISSING = "missing"
# A rate is that of the last batches; after this many seconds without one nothing is being applied.
_BUILDS = """
SELECT b.projection, b.version, b.state, b.build, jsonb_object_agg(c.stream, c.sequence),
    sum(c.events_per_second) FILTER (WHERE c.updated_at > now() - interval '5 seconds'),
    max(c.updated_at) > now() - interval '1 minute'
FROM projection_builds AS b JOIN projection_checkpoints AS c USING (projection, version, build)
WHERE b.state IN ('live', 'building')
GROUP BY b.projection, b.version, b.state, b.build
ORDER BY b.projection, b.version, b.build
"""
_CONSUMER_SECONDS = 5.0


class StreamStatus(msgspec.Struct, frozen=True):
    name: str
    events: int
    bytes: int
    last_sequence: int


class ProjectionStatus(msgspec.Struct, frozen=True):
    name: str
    version: int
    # The checkpoint of each of its streams.
    position: dict[str, int]
    # Events that it may see and has not applied yet.
    lag: int
    events_per_second: float
    # `live`, `building`, or `missing` where no service has built it yet.
    state: str


class _Row(msgspec.Struct, frozen=True):
    projection: str
    version: int
    state: str
    build: int
    position: dict[str, int]
    rate: float | None
    fresh: bool


async def stream_status(nc: NATS, stream: str) -> StreamStatus:
    """The stream's size; all zero where no service has made it yet."""
    try:
        state = (await nc.jetstream().stream_info(stream)).state
    except NotFoundError:
        return StreamStatus(stream, 0, 0, 0)
    return StreamStatus(stream, state.messages, state.bytes, state.last_seq)


async def projection_statuses(
    projections: Sequence[type[Projection]], conn: Connection, nc: NATS, streams: Sequence[StreamStatus]
) -> list[ProjectionStatus]:
    """One status a build of today's version that is live or being built, and of older versions still in use."""
    await builds.ensure_schema(conn)
    cursor = await conn.execute(_BUILDS)
    fields = _Row.__struct_fields__
    rows = [msgspec.convert(dict(zip(fields, row, strict=True)), _Row) for row in await cursor.fetchall()]
    ends = {stream.name: stream.last_sequence for stream in streams}
    statuses: list[ProjectionStatus] = []
    for projection in projections:
        own = [
            row
            for row in rows
            if row.projection == projection.name and (row.version == projection.version or row.fresh)
        ]
        if not any(row.version == projection.version for row in own):
            start = dict.fromkeys(projection.filters(), 0)
            own.append(_Row(projection.name, projection.version, _MISSING, 0, start, None, False))
        statuses += [
            ProjectionStatus(
                name=row.projection,
                version=row.version,
                position=row.position,
                lag=await _lag(nc, projection, row.position, ends),
                events_per_second=round(row.rate or 0.0, 1),
                state=row.state,
            )
            for row in own
        ]
    return statuses


async def _lag(nc: NATS, projection: type[Projection], position: dict[str, int], ends: dict[str, int]) -> int:
    lag = 0
    filters = projection.filters()
    for stream, sequence in position.items():
        behind = max(0, ends.get(stream, 0) - sequence)
        subject_filter = filters.get(stream)
        lag += await _count(nc, stream, subject_filter, sequence) if behind and subject_filter else behind
    return lag


async def _count(nc: NATS, stream: str, subject_filter: str, after: int) -> int:
    """How many events behind the sequence pass the filter: the server counts them for a consumer that begins there."""
    js = nc.jetstream()
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
