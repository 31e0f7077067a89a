"""Verifies that a live read model agrees with its streams: builds a shadow and compares the two row by row.

The live rows and their checkpoint are one snapshot, and the shadow is filled exactly up to that checkpoint, so a system
under load can be verified. The shadow consists of temporary tables, which are dropped with the connection however the
verification ends. A projection of several streams is built twice, with the streams in order and in reverse order: rows
that depend on the interleaving differ in one of the two.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import msgspec
from nats.aio.client import Client as NATS
from psycopg import Error as DatabaseError
from psycopg import IsolationLevel, sql

from contracts.errors import Unavailable
from contracts.positions import Position
from infra.operator_errors import OperatorError
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.dead_letters import discards
from projections.engine.inspection import isolated_build
from projections.engine.inspection.table_diff import Comparison, Difference, compare
from projections.engine.projection import Projection
from projections.engine.reading import begin
from projections.engine.rebuild import cutover
from projections.engine.rebuild.progress import Report, ignore_progress
from projections.engine.storage import builds, dead_letters, lost_events, tables
from projections.engine.storage.builds import Build, Connection
from projections.engine.storage.connections import connect
from projections.engine.storage.schema import create_schema, ensure_schema
from projections.engine.storage.tables import Table

_NO_IDLE_LIMIT = "SET idle_in_transaction_session_timeout = 0"


class NotBuilt(OperatorError):
    """The projection has no live build to verify."""

    def __init__(self, projection: type[Projection]) -> None:
        super().__init__(f"{projection.name} has no live build of version {projection.version}; start its service")


class Verdict(msgspec.Struct, frozen=True):
    """The result of a verification; `differences` has the first few, the counts include all."""

    projection: str
    version: int
    build: int
    position: dict[str, int]
    equal: bool
    # Ranges of lost events, such as `MESSAGING:7-9`; with any of them, `equal` is false.
    lost: list[str]
    # Lost events that an operator has accepted.
    lost_accepted: int
    # Rows compared, over all tables.
    rows: int
    events: int
    changed: int
    missing: int
    extra: int
    # Events that failed in the live build, or are parked behind a failed one.
    dead_letters: int
    # The same in the shadow: the current code may apply events that failed before.
    dead_letters_rebuilt: int
    # Events that an operator has discarded, so that every build of the version skips them.
    discarded: int
    differences: list[Difference]
    seconds: float


async def verify(
    projection: type[Projection],
    nc: NATS,
    database_url: str,
    report: Report = ignore_progress,
    *,
    on_difference: Callable[[Difference], None] | None = None,
    ends: Mapping[str, int] | None = None,
) -> Verdict:
    """Compares the live read model with its streams up to its checkpoint.

    `on_difference`: called for every row that differs; the verdict has the first few.
    `ends`: by stream, an earlier sequence to stop at, for a stream that has lost its end.

    Raises:
        NotBuilt, BadBegin, isolated_build.StreamTooShort: nothing could be compared.
        Unavailable: the database or NATS does not answer.
    """
    begun = time.monotonic()
    live_conn = await connect(database_url, f"verify {projection.name}")
    try:
        shadow_conn = await connect(database_url, f"shadow {projection.name}")
    except BaseException:
        await live_conn.close()
        raise
    try:
        await ensure_schema(live_conn)
        await discards.catch_up(live_conn, nc, projection.name)
        await isolated_build.use_schema(shadow_conn, isolated_build.TEMPORARY)
        await create_schema(shadow_conn)
        await live_conn.execute(_NO_IDLE_LIMIT)
        await live_conn.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        async with live_conn.transaction():
            live, checkpoint, known = await _snapshot(live_conn, projection)
            moment = await _moment(live_conn)
            position = Position(
                {stream: min(at, (ends or {}).get(stream, at)) for stream, at in checkpoint.sequences.items()}
            )
            # Limited to the snapshot: the live rows do not reflect later discards yet.
            left_out = discards.of_version(await discards.recorded(nc), projection.name, projection.version)
            left_out &= await dead_letters.discards(live_conn, projection.name, projection.version)
            # Not determined yet: the live build has applied nothing.
            after = await begin.recorded(nc, projection) or Position()
            orders = _interleavings(projection)
            counting = isolated_build.ProgressCounter(position, len(orders), report)
            for order in orders:
                comparison = Comparison(on_difference=on_difference)
                shadow = await isolated_build.create_isolated_build(shadow_conn, projection, left_out, after)
                events = await isolated_build.replay_into(shadow, projection, nc, position, order, counting)
                await _compare(live_conn, known, shadow_conn, projection, shadow, comparison, moment)
                gaps = await lost_events.found(shadow_conn, shadow.build)
                letters, shadow_letters = await _letters(live_conn, live), await _letters(shadow_conn, shadow.build)
                await cutover.drop_build(shadow_conn, projection, shadow.build)
                if comparison.count:
                    break
        lost = await lost_events.unaccepted(nc, gaps)
    except DatabaseError as error:
        raise Unavailable(f"{projection.name} cannot be verified: {error}".partition("\n")[0]) from error
    finally:
        await shadow_conn.close()
        await live_conn.close()
    return Verdict(
        projection=projection.name,
        version=projection.version,
        build=live.build,
        position=dict(position.sequences),
        equal=comparison.count == 0 and not lost,
        lost=list(map(str, lost)),
        lost_accepted=sum(map(len, gaps)) - sum(map(len, lost)),
        rows=comparison.rows,
        events=events,
        changed=comparison.changed,
        missing=comparison.missing,
        extra=comparison.extra,
        dead_letters=letters,
        dead_letters_rebuilt=shadow_letters,
        discarded=sum(sequence <= position.sequence(stream) for stream, sequence in left_out),
        differences=comparison.differences,
        seconds=round(time.monotonic() - begun, 3),
    )


async def _snapshot(conn: Connection, projection: type[Projection]) -> tuple[Build, Position, dict[str, Table]]:
    """The live build, its checkpoints and its tables, fixed by the transaction's snapshot.

    The lock keeps the tables from being dropped until the transaction ends: rebuilds may complete meanwhile.
    """
    live = await cutover.live_build(conn, projection)
    if live is None:
        raise NotBuilt(projection)
    known = await tables.inspect(conn, projection, live)
    names = sql.SQL(", ").join(sql.Identifier(table.physical) for table in known.values())
    await conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
    return live, await builds.checkpoints(conn, live), known


def _interleavings(projection: type[Projection]) -> list[Sequence[str]]:
    """The orders in which the streams are read, one after the other."""
    streams = list(projection.filters())
    return [streams] if len(streams) == 1 else [streams, streams[::-1]]


async def _compare(
    live_conn: Connection,
    known: dict[str, Table],
    shadow_conn: Connection,
    projection: type[Projection],
    shadow: BuildWriter,
    comparison: Comparison,
    moment: datetime,
) -> None:
    rebuilt = await tables.inspect(shadow_conn, projection, shadow.build)
    async with shadow_conn.transaction():
        for name, table in known.items():
            await compare(live_conn, table, shadow_conn, rebuilt[name], comparison, moment)


async def _moment(conn: Connection) -> datetime:
    """The time of the snapshot by the database's clock, by which rows end for readers."""
    row = await (await conn.execute("SELECT now()")).fetchone()
    assert row is not None
    assert isinstance(row[0], datetime)
    return row[0]


async def _letters(conn: Connection, build: Build) -> int:
    cursor = await conn.execute(
        "SELECT count(*) FROM projection_dead_letters WHERE (projection, version, build) = (%s, %s, %s)", build.id
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(str(row[0]))
