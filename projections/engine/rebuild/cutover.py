"""Creates builds, and cuts over from one to another without noticeable waits, errors or empty results for readers.

The live build is locked while the new one applies the last events: its checkpoint cannot move meanwhile, and reads
continue. The views change in the transaction that changes the states. To change a view takes an exclusive lock, and new
readers queue behind a waiting lock. So the cutover waits until no view has a long reader, waits for the locks of all
views for 20 ms at most in total, and does nothing slow under them.
"""

import logging
import time
from collections.abc import Awaitable, Callable

from psycopg import errors, sql

from contracts.positions import Position
from projections.engine.projection import Projection
from projections.engine.rebuild import progress
from projections.engine.storage import build_objects, builds, tables
from projections.engine.storage.build_objects import BuildObject
from projections.engine.storage.builds import Build, BuildState, Connection

log = logging.getLogger(__name__)
# For the live build's writer, which may be writing a large batch. No reader waits behind this lock.
_HOLD_TIMEOUT = "SET LOCAL lock_timeout = '2s'"
_VIEW_SECONDS = 0.02
# A reader that has held a view for a while will most likely hold it for longer than the cutover may wait. The server
# does not show since when another login, such as an operator's, holds it; such a reader counts as a long one.
_LONG_READERS = """
SELECT l.pid, coalesce(a.application_name, ''), extract(epoch FROM clock_timestamp() - a.xact_start)::float
FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.relation IN (SELECT to_regclass(view) FROM unnest(%s::text[]) AS view)
  AND coalesce(a.xact_start, '-infinity') < clock_timestamp() - interval '250 ms'
ORDER BY a.xact_start NULLS LAST
"""

CatchUp = Callable[[Position], Awaitable[bool]]
_AT_FIRST = Position()


async def live_build(conn: Connection, projection: type[Projection]) -> Build | None:
    return await _newest(conn, projection, BuildState.LIVE)


async def start_build(
    conn: Connection,
    projection: type[Projection],
    state: BuildState = BuildState.BUILDING,
    *,
    after: Position = _AT_FIRST,
) -> Build:
    """Adds a build with empty tables that begins after the position."""
    async with conn.transaction():
        build = await builds.add_build(conn, projection.name, projection.version, state)
        await tables.create(conn, projection, build)
        created = tables.objects(projection, build)
        names = list(tables.physical_names(projection, build).values())
        more = created if len(created) > len(names) else ()
        await builds.record_source(conn, build, names, projection.code(), more)
        await builds.add_checkpoints(conn, build, dict.fromkeys(projection.filters(), 0))
        if after.sequences:
            await builds.set_begin(conn, build, after)
    return build


async def resume_or_start(conn: Connection, projection: type[Projection], after: Position = _AT_FIRST) -> Build:
    """Returns the unfinished build that begins after the position, or a new one.

    An unfinished build that was started by other code is dropped, since its rows would be a mix of both.
    """
    unfinished = await _newest(conn, projection, BuildState.BUILDING)
    if unfinished is not None:
        begun_by, ours = await builds.source_digest(conn, unfinished), projection.code()
        if (None in (begun_by, ours) or begun_by == ours) and await builds.begin_of(conn, unfinished) == after:
            return unfinished
        log.info("%s: build %d was started by other code; starting another", projection.name, unfinished.build)
        await drop_build(conn, projection, unfinished)
    return await start_build(conn, projection, after=after)


async def drop_build(conn: Connection, projection: type[Projection], build: Build) -> None:
    """Drops what the build was created with, and what readers see of objects that the code no longer has."""
    ours = tables.objects(projection, build)
    shown = {_as_shown(item) for item in ours}
    async with conn.transaction():
        objects = await builds.objects_of(conn, build) or ours
        await builds.drop(conn, build.id, objects, shown=[item for item in objects if _as_shown(item) not in shown])


def _as_shown(item: BuildObject) -> tuple[bool, str]:
    """Whether the object is a function, and its name for readers, to whom a table and a view are alike."""
    return item.kind == build_objects.FUNCTION, item.reader_name


async def blocking_reader(conn: Connection, projection: type[Projection]) -> str | None:
    """Describes a reader that has held a view for so long that a cutover would block others; None: there is none."""
    views = list(projection.reader_names().values())
    cursor = await conn.execute(_LONG_READERS, (views,))
    row = await cursor.fetchone()
    if row is None:
        return None
    pid, application, seconds = row
    since = "" if seconds is None else f", for {seconds:.1f} s"
    return f"a reader of its views to end (process {pid} {application!r} of the database{since})"


async def cut_over(conn: Connection, projection: type[Projection], new: Build, catch_up: CatchUp) -> bool:
    """Makes the new build live and retires the previous one; False if it has to be tried again later.

    `catch_up` brings the new build to the given position, on its own connection; returns False if it could not.

    Raises:
        tables.BadTables: the columns differ from those of the views.
    """
    try:
        async with conn.transaction():
            await conn.execute(_HOLD_TIMEOUT)
            old = await live_build(conn, projection)
            if old is not None:
                if not (await builds.lock_build(conn, old) and await catch_up(await builds.checkpoints(conn, old))):
                    return False
                await builds.set_state(conn, old, BuildState.RETIRED)
            await builds.set_state(conn, new, BuildState.LIVE)
            await progress.forget(conn, new)
            # The flush to disk does not happen under the views' locks, but right after, with `record_live_at`.
            await conn.execute("SET LOCAL synchronous_commit = off")
            await _repoint_view(conn, projection, new)
    except (errors.LockNotAvailable, errors.DeadlockDetected):
        return False
    await builds.record_live_at(conn, new)
    log.info("%s: build %d of version %d is live", projection.name, new.build, new.version)
    return True


async def _repoint_view(conn: Connection, projection: type[Projection], build: Build) -> None:
    """Points the views at the build's tables; the last step before the commit."""
    deadline = time.monotonic() + _VIEW_SECONDS
    for name in (*projection.table_names(), *projection.view_names()):
        left = max(1, round((deadline - time.monotonic()) * 1_000))
        await conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{left}ms")))
        await tables.show(conn, projection, build, name)
    await tables.show_functions(conn, projection, projection.reader_names())


async def _newest(conn: Connection, projection: type[Projection], state: BuildState) -> Build | None:
    known = await builds.builds_of(conn, projection.name, projection.version)
    return next((build for build in reversed(known) if build.state is state), None)
