"""Proves that a live read model is what its streams say: a shadow is built and compared with it, row for row.

The live rows and their checkpoint are one snapshot; the shadow is filled exactly to that checkpoint, so that a system
at work can be verified. A projection of several streams is built twice, with the streams one after the other and the
other way round: rows that depend on the interleaving differ in one of the two.
"""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
from nats.aio.client import Client as NATS
from psycopg import IsolationLevel

from contracts.positions import Position
from infra.failures import Failure
from projections.engine import builds, switching, tables
from projections.engine.builds import Build, Connection, State
from projections.engine.comparison import Comparison, Difference, compare
from projections.engine.connecting import connect, try_lock, verify_lock
from projections.engine.filling import Filling
from projections.engine.projection import Projection
from projections.engine.rebuild import Progress
from projections.engine.rows import Table
from projections.engine.sources import Sources

_NO_IDLE_LIMIT = "SET idle_in_transaction_session_timeout = 0"


class NotBuilt(Failure):
    """There is no live read model that could be verified."""

    def __init__(self, projection: type[Projection]) -> None:
        super().__init__(f"{projection.name} has no live build of version {projection.version}; start its service")


class VerifyUnderWay(Failure):
    """Somebody else is verifying this read model just now."""

    def __init__(self, projection: str) -> None:
        super().__init__(f"{projection} is being verified already")


class StreamTooShort(Failure):
    """A read model has seen more of a stream than there is."""

    def __init__(self, stream: str, end: int, checkpoint: int) -> None:
        super().__init__(f"{stream} ends at {end}, before the read model's checkpoint {checkpoint}: events are gone")


class Verdict(msgspec.Struct, frozen=True):
    """What came out; `differences` names the first few, the counts are of all."""

    projection: str
    version: int
    build: int
    position: dict[str, int]
    equal: bool
    # Rows compared, over all tables.
    rows: int
    events: int
    changed: int
    missing: int
    extra: int
    # Events that the live read model could not apply, or that wait behind such a one.
    dead_letters: int
    differences: list[Difference]
    seconds: float


Report = Callable[[Progress], None]


async def verify(
    projection: type[Projection], nc: NATS, database_url: str, report: Report = lambda progress: None
) -> Verdict:
    """Compares the live read model with what its streams say up to its checkpoint.

    Raises:
        NotBuilt, VerifyUnderWay, StreamTooShort: nothing could be compared.
    """
    begun = time.monotonic()
    live_conn = await connect(database_url, f"verify {projection.name}")
    shadow_conn = await connect(database_url, f"shadow {projection.name}")
    try:
        await builds.ensure_schema(shadow_conn)
        if not await try_lock(shadow_conn, verify_lock(projection)):
            raise VerifyUnderWay(projection.name)
        await _drop_shadows(shadow_conn, projection)
        await live_conn.execute(_NO_IDLE_LIMIT)
        await live_conn.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        async with live_conn.transaction():
            live, position, known = await _snapshot(live_conn, projection)
            for order in _interleavings(projection):
                comparison = Comparison()
                async with _shadow(shadow_conn, projection) as shadow:
                    events = await _fill(shadow, projection, nc, position, order, report)
                    await _compare(live_conn, known, shadow_conn, projection, shadow, comparison)
                if comparison.count:
                    break
            letters = await _dead_letters(live_conn, live)
    finally:
        await shadow_conn.close()
        await live_conn.close()
    return Verdict(
        projection=projection.name,
        version=projection.version,
        build=live.build,
        position=dict(position.sequences),
        equal=comparison.count == 0,
        rows=comparison.rows,
        events=events,
        changed=comparison.changed,
        missing=comparison.missing,
        extra=comparison.extra,
        dead_letters=letters,
        differences=comparison.differences,
        seconds=round(time.monotonic() - begun, 3),
    )


async def _snapshot(conn: Connection, projection: type[Projection]) -> tuple[Build, Position, dict[str, Table]]:
    """The live build with its checkpoints; the transaction sees no later moment."""
    live = await switching.live_build(conn, projection)
    if live is None:
        raise NotBuilt(projection)
    return live, await builds.checkpoints(conn, live), await tables.inspect(conn, projection, live)


def _interleavings(projection: type[Projection]) -> list[Sequence[str]]:
    """Orders in which the streams are read one after the other."""
    streams = list(projection.filters())
    return [streams] if len(streams) == 1 else [streams, streams[::-1]]


@asynccontextmanager
async def _shadow(conn: Connection, projection: type[Projection]) -> AsyncIterator[Filling]:
    build = await switching.start_build(conn, projection, State.SHADOW)
    try:
        yield await Filling.open(conn, projection, build)
    finally:
        # A connection that is lost leaves the shadow to the next verification.
        if not conn.closed:
            await conn.rollback()
            await switching.drop_build(conn, projection, build)


async def _drop_shadows(conn: Connection, projection: type[Projection]) -> None:
    """Drops what an interrupted verification has left."""
    for build in await builds.builds_of(conn, projection.name, projection.version):
        if build.state is State.SHADOW:
            await switching.drop_build(conn, projection, build)


async def _fill(
    shadow: Filling,
    projection: type[Projection],
    nc: NATS,
    position: Position,
    order: Sequence[str],
    report: Report,
) -> int:
    """Applies every stream, one after the other, exactly up to the position; returns the number of events."""
    begun, events, filters = time.monotonic(), 0, projection.filters()
    total = sum(position.sequences.values())
    passed = 0
    for stream in order:
        target = position.of(stream)
        end = (await nc.jetstream().stream_info(stream)).state.last_seq
        if end < target:
            raise StreamTooShort(stream, end, target)
        name = f"verify-{projection.name}"
        async with Sources(nc, {stream: filters[stream]}, Position(), name=name) as sources:
            while shadow.position.of(stream) < target:
                _, batch = await sources.next()
                messages = [message for message in batch.messages if message.sequence <= target]
                reached = min(batch.position, target)
                await shadow.apply(stream, messages, reached)
                events += len(messages)
                report(Progress(passed + reached, total, time.monotonic() - begun))
        passed += target
    return events


async def _compare(
    live_conn: Connection,
    known: dict[str, Table],
    shadow_conn: Connection,
    projection: type[Projection],
    shadow: Filling,
    comparison: Comparison,
) -> None:
    rebuilt = await tables.inspect(shadow_conn, projection, shadow.build)
    async with shadow_conn.transaction():
        for name, table in known.items():
            await compare(live_conn, table, shadow_conn, rebuilt[name], comparison)


async def _dead_letters(conn: Connection, build: Build) -> int:
    cursor = await conn.execute(
        "SELECT count(*) FROM projection_dead_letters WHERE (projection, version, build) = (%s, %s, %s)", build.id
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(str(row[0]))
