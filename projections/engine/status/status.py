"""The status of read models' builds, for operators."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString, TypeVar

import msgspec
from nats.aio.client import Client as NATS
from nats.js.errors import NotFoundError

from projections.engine.broken_projection import Broken
from projections.engine.projection import Projection
from projections.engine.running.last_errors import LastError
from projections.engine.status.lag import Lag, lag_of
from projections.engine.storage.builds import Connection
from projections.engine.storage.pauses import Pause
from projections.engine.storage.schema import ensure_schema

R = TypeVar("R", bound=msgspec.Struct)

_MISSING = "missing"
_FAILED = "failed"
_PAUSED = "paused"
_LIVE = "live"
_UNKNOWN = "unknown"
# The rate is that of the last batches; after 5 seconds without a batch there is none.
_BUILDS = """
SELECT b.projection, b.version,
    CASE WHEN b.state = 'live' THEN 'live'
         WHEN f.at_work AND b.state = 'retired' THEN 'returning'
         WHEN f.at_work THEN 'building'
         ELSE 'interrupted' END,
    b.build, jsonb_object_agg(c.stream, c.sequence),
    CASE WHEN p.build IS NULL THEN sum(c.events_per_second) FILTER (WHERE c.updated_at > now() - interval '5 seconds')
         WHEN f.at_work THEN p.events_per_second END,
    max(c.updated_at) > now() - interval '1 minute' OR f.is_run,
    max(c.updated_at),
    (SELECT count(*) FROM projection_dead_letters AS l
     WHERE (l.projection, l.version, l.build) = (b.projection, b.version, b.build) AND l.state = 'failed'),
    (SELECT count(*) FROM projection_dead_letters AS l
     WHERE (l.projection, l.version, l.build) = (b.projection, b.version, b.build) AND l.state = 'parked'),
    p.events, p.total,
    (SELECT coalesce(sum(pg_total_relation_size(to_regclass(name))), 0)::bigint FROM unnest(b.tables) AS name),
    (SELECT coalesce(sum(pg_total_relation_size(to_regclass(name))), 0)::bigint
     FROM projection_builds AS k, unnest(k.tables) AS name
     WHERE k.projection = b.projection AND (k.version <> b.version OR k.state = 'retired') AND b.state = 'live')
FROM projection_builds AS b JOIN projection_checkpoints AS c USING (projection, version, build)
LEFT JOIN projection_progress AS p USING (projection, version, build)
CROSS JOIN LATERAL (
    -- Whoever fills a build holds one of these locks: the service of a first build, or the command.
    SELECT EXISTS (
        SELECT FROM pg_locks AS l
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (l.classid::bigint << 32) | l.objid::bigint IN (
            hashtextextended(format('vestnik.projections.%s.v%s.rebuild', b.projection, b.version), 0),
            CASE WHEN NOT EXISTS (
                SELECT FROM projection_builds AS o
                WHERE (o.projection, o.version, o.state) = (b.projection, b.version, 'live')
            ) THEN hashtextextended(format('vestnik.projections.%s.v%s.run', b.projection, b.version), 0) END)
    ) AS at_work,
    -- Also where nothing has happened for long.
    EXISTS (
        SELECT FROM pg_locks AS l
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (l.classid::bigint << 32) | l.objid::bigint
            = hashtextextended(format('vestnik.projections.%s.v%s.run', b.projection, b.version), 0)
    ) AS is_run
) AS f
WHERE b.state IN ('live', 'building') OR (b.state = 'retired' AND p.updated_at > now() - interval '5 seconds')
GROUP BY b.projection, b.version, b.state, b.build, b.tables, f.at_work, f.is_run,
    p.build, p.events, p.total, p.events_per_second
ORDER BY b.projection, b.version, b.build
"""
# Older errors are left out, unless the projection is still failing.
_ERRORS = """
SELECT projection, version, at, error, failing FROM projection_errors
WHERE failing OR at > now() - interval '24 hours'
"""
_PAUSES = "SELECT reason, paused_by, paused_at, projection, version FROM projection_pauses"
_PATIENCE = 2.0


class StreamStatus(msgspec.Struct, frozen=True):
    name: str
    events: int
    bytes: int
    last_sequence: int


class DeadLetters(msgspec.Struct, frozen=True):
    # Events that could not be applied, and events of the same aggregates parked behind them.
    failed: int = 0
    parked: int = 0


class ProjectionStatus(msgspec.Struct, frozen=True):
    name: str
    version: int
    # The checkpoints by stream.
    position: dict[str, int]
    # Events that pass its filters and are not applied yet; None if NATS or PostgreSQL does not answer.
    lag: int | None
    # Seconds since the oldest of those was stored; 0 if there is none.
    lag_seconds: float | None
    events_per_second: float
    # `live`; `building`; `returning`: to the previous build; `interrupted`: the same command resumes it; `missing`: no
    # service has built it yet; `paused`: no service applies it until it is resumed; `failed`: because of its code, see
    # the last error; `unknown`: PostgreSQL does not answer.
    state: str
    # The build's number; 0 if there is none.
    build: int
    # When a checkpoint was last moved.
    checkpoint_at: datetime | None
    dead_letters: DeadLetters
    # Of the last 24 hours, or the one that it is failing with.
    last_error: LastError | None
    # Of a build that is not live.
    progress: "Filled | None"
    # On disk, with indexes.
    bytes: int
    # On disk, of the builds kept beside the live one: the previous one, other versions.
    kept_bytes: int
    # Of the version, also while a rebuild goes on.
    pause: Pause | None = None


class Filled(msgspec.Struct, frozen=True):
    """A build's progress, in events that pass the projection's filters."""

    events: int
    total: int
    fraction: float
    # None while no rate is known, or the build is interrupted.
    seconds_left: float | None


class _Error(msgspec.Struct, frozen=True):
    projection: str
    version: int
    at: datetime
    error: str
    failing: bool


class _PauseRow(Pause, frozen=True):
    projection: str
    version: int


class _Row(msgspec.Struct, frozen=True):
    projection: str
    version: int
    state: str
    build: int
    position: dict[str, int]
    rate: float | None
    fresh: bool
    checkpoint_at: datetime | None = None
    failed: int = 0
    parked: int = 0
    events: int | None = None
    total: int | None = None
    bytes: int = 0
    kept_bytes: int = 0

    def progress(self) -> Filled | None:
        if self.state == _LIVE or self.events is None or self.total is None:
            return None
        left = self.total - self.events
        return Filled(
            self.events,
            self.total,
            round(self.events / self.total, 4) if self.total else 1.0,
            0.0 if not left else round(left / self.rate, 1) if self.rate else None,
        )


async def stream_status(nc: NATS, stream: str) -> StreamStatus:
    """The stream's size; all zero if the stream does not exist."""
    try:
        state = (await nc.jetstream(timeout=_PATIENCE).stream_info(stream)).state
    except NotFoundError:
        return StreamStatus(stream, 0, 0, 0)
    return StreamStatus(stream, state.messages, state.bytes, state.last_seq)


async def projection_statuses(
    projections: Sequence[type[Projection]], conn: Connection, nc: NATS | None, streams: Sequence[StreamStatus]
) -> list[ProjectionStatus]:
    """One status per build of the current version that is live or being built, and of other versions still in use.

    `nc`: None if NATS does not answer; the lag is unknown then.
    """
    await ensure_schema(conn)
    rows = await _fetch(conn, _BUILDS, _Row)
    pauses = {(pause.projection, pause.version): pause for pause in await _fetch(conn, _PAUSES, _PauseRow)}
    errors = {(error.projection, error.version): error for error in await _fetch(conn, _ERRORS, _Error)}
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
        for row in own:
            lag = None if nc is None else await lag_of(nc, projection, row.position, ends)
            error = errors.get((row.projection, row.version))
            pause = pauses.get((row.projection, row.version))
            has_live = any(other.state == _LIVE and other.version == row.version for other in own)
            if pause is not None and (row.state == _LIVE or not has_live):
                row = msgspec.structs.replace(row, state=_PAUSED)
            elif error is not None and error.failing and row.version == projection.version:
                row = msgspec.structs.replace(row, state=_FAILED)
            statuses.append(_status(row, lag, None if error is None else LastError(error.at, error.error), pause))
    return statuses


async def _fetch(conn: Connection, statement: LiteralString, kind: type[R]) -> list[R]:
    cursor = await conn.execute(statement)
    fields = kind.__struct_fields__
    return [msgspec.convert(dict(zip(fields, row, strict=True)), kind) for row in await cursor.fetchall()]


def failed_status(broken: Broken) -> ProjectionStatus:
    """The status of a projection whose code cannot be loaded."""
    return _status(_Row(broken.name, 0, _FAILED, 0, {}, None, False), None, broken.last_error)


def unknown_statuses(projections: Sequence[type[Projection]]) -> list[ProjectionStatus]:
    """The statuses of projections whose database does not answer."""
    return [
        _status(_Row(projection.name, projection.version, _UNKNOWN, 0, {}, None, False), None)
        for projection in projections
    ]


def _status(
    row: _Row, lag: Lag | None, error: LastError | None = None, pause: _PauseRow | None = None
) -> ProjectionStatus:
    return ProjectionStatus(
        name=row.projection,
        version=row.version,
        position=row.position,
        lag=None if lag is None else lag.events,
        lag_seconds=None if lag is None else lag.seconds,
        events_per_second=round(row.rate or 0.0, 1),
        state=row.state,
        build=row.build,
        checkpoint_at=row.checkpoint_at,
        dead_letters=DeadLetters(row.failed, row.parked),
        last_error=error,
        progress=row.progress(),
        bytes=row.bytes,
        kept_bytes=row.kept_bytes,
        pause=None if pause is None else Pause(pause.reason, pause.paused_by, pause.paused_at),
    )
