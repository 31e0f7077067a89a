"""Makes builds and puts one under the views in place of another, so that no reader waits, errs or sees nothing.

The live build is held while the new one takes its last steps: it cannot move ahead meanwhile, readers go on, and the
views change in the transaction that changes the states. No lock is waited for longer than 50 ms: behind a waiting
exclusive lock every reader would queue.
"""

import logging
from collections.abc import Awaitable, Callable

from psycopg import errors

from contracts.positions import Position
from projections.engine import builds, tables
from projections.engine.builds import Build, Connection, State
from projections.engine.projection import Projection

log = logging.getLogger(__name__)
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '50ms'"

CatchUp = Callable[[Position], Awaitable[bool]]


async def live_build(conn: Connection, projection: type[Projection]) -> Build | None:
    return await _newest(conn, projection, State.LIVE)


async def unfinished_build(conn: Connection, projection: type[Projection]) -> Build | None:
    return await _newest(conn, projection, State.BUILDING)


async def start_build(conn: Connection, projection: type[Projection], state: State = State.BUILDING) -> Build:
    """Adds a build with empty tables, all checkpoints at the start."""
    async with conn.transaction():
        build = await builds.add_build(conn, projection.name, projection.version, state)
        await tables.create(conn, projection, build)
        await builds.add_checkpoints(conn, build, dict.fromkeys(projection.filters(), 0))
    return build


async def drop_build(conn: Connection, projection: type[Projection], build: Build) -> None:
    async with conn.transaction():
        await tables.drop(conn, projection, build)
        await builds.remove(conn, build)


async def switch(conn: Connection, projection: type[Projection], new: Build, catch_up: CatchUp) -> bool:
    """Makes the new build the live one and retires the one before; False if now is not the moment: try again later.

    `catch_up` brings the new build to the position given, on a connection of its own, or says that it could not.

    Raises:
        tables.BadTables: the columns differ from those that readers know.
    """
    try:
        async with conn.transaction():
            await conn.execute(_LOCK_TIMEOUT)
            old = await live_build(conn, projection)
            if old is not None and not (
                await builds.hold(conn, old) and await catch_up(await builds.checkpoints(conn, old))
            ):
                return False
            await tables.show(conn, projection, new)
            if old is not None:
                await builds.set_state(conn, old, State.RETIRED)
            await builds.set_state(conn, new, State.LIVE)
    except (errors.LockNotAvailable, errors.DeadlockDetected):
        return False
    log.info("%s: build %d of version %d is live", projection.name, new.build, new.version)
    return True


async def drop_leftovers(conn: Connection, projection: type[Projection]) -> None:
    """Drops every build but the live one and the one that it replaced last, as far as nobody uses them just now."""
    known = await builds.builds_of(conn, projection.name, projection.version)
    retired = [build for build in known if build.state is State.RETIRED]
    for build in retired[:-1]:
        try:
            async with conn.transaction():
                await conn.execute(_LOCK_TIMEOUT)
                await drop_build(conn, projection, build)
        except errors.LockNotAvailable:
            log.info("%s: build %d is in use, it is dropped another time", projection.name, build.build)


async def _newest(conn: Connection, projection: type[Projection], state: State) -> Build | None:
    known = await builds.builds_of(conn, projection.name, projection.version)
    return next((build for build in reversed(known) if build.state is state), None)
