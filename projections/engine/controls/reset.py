"""Resets a projection, for the command line and the operators' page: an empty build replaces the live one.

Both record the act first (`pause.py` shows how), and call `reset` with the URL of the projection's service.

An empty build goes live at once, and the service fills it as it applies any event. Until then the rows are incomplete,
and reads of a later position get 503. A rebuild does the same without this gap. The last complete build is kept, as
after a rebuild: to go back to it undoes the reset, or several. As a rebuild, a reset is refused while the streams are
known to lack events that no operator has accepted as lost. It reads no events, so it finds no other losses; the service
reports those when it comes to them.
"""

import asyncio
import time

import msgspec
from nats.aio.client import Client as NATS
from psycopg import Error as DatabaseError

from contracts.positions import Position
from infra.operator_errors import OperatorError
from projections.engine.controls.waiting import Busy
from projections.engine.dead_letters import discards
from projections.engine.projection import Projection
from projections.engine.reading import begin
from projections.engine.rebuild import cutover, kept_builds, progress
from projections.engine.rebuild.catch_up import announce
from projections.engine.rebuild.rebuild import RebuildUnderWay
from projections.engine.storage import builds, lost_events, tables
from projections.engine.storage.builds import Build, BuildState, Connection
from projections.engine.storage.connections import (
    close_and_unlock,
    connect,
    database_unavailable,
    rebuild_lock,
    try_lock,
)
from projections.engine.storage.lost_events import EventsLost
from projections.engine.storage.schema import ensure_schema

# Seconds for which readers of the live build may keep the empty one from going live.
PATIENCE = 60.0
_PAUSE_SECONDS = 0.1


class NothingToReset(OperatorError):
    """The projection is being built from where it begins already."""

    def __init__(self, projection: type[Projection]) -> None:
        super().__init__(
            f"version {projection.version} of {projection.name} has no live build yet: its service fills the first one"
        )


class ReadersBusy(Busy):
    """A long reader has kept the empty build from going live."""

    def __init__(self, projection: type[Projection], seconds: float, waits_for: str | None) -> None:
        super().__init__(
            f"{projection.name} was not reset, after {seconds:.0f} s of waiting for"
            f" {waits_for or 'its writer or its readers'}"
        )


class Reset(msgspec.Struct, frozen=True, kw_only=True):
    projection: str
    version: int
    # The build that is live and empty.
    build: int
    # The build that it has replaced, and the position that it had.
    replaced: int
    position: dict[str, int]
    # The build that is kept to go back to: the replaced one, unless that was incomplete itself.
    kept: int


async def reset(projection: type[Projection], nc: NATS, database_url: str, *, patience: float = PATIENCE) -> Reset:
    """Replaces the live build with an empty one.

    `patience`: seconds to wait for readers; an attempt that is under way then takes two more at most.

    Raises:
        RebuildUnderWay: another process is building the projection.
        EventsLost: the streams lack events, and no operator has accepted the loss.
        NothingToReset: it has no live build.
        BadBegin, NotBegun: it has begun elsewhere than its class says, or not yet.
        ReadersBusy: nothing was changed.
        Unavailable: the database or NATS does not answer; it may have been reset.
    """
    conn = await connect(database_url, f"rebuild {projection.name}")
    try:
        await ensure_schema(conn)
        if not await try_lock(conn, rebuild_lock(projection)):
            raise RebuildUnderWay(projection.name, await progress.described(conn, projection))
        await discards.catch_up(conn, nc, projection.name)
        return await _reset(conn, nc, projection, patience)
    except DatabaseError as error:
        raise database_unavailable(error) from error
    finally:
        await close_and_unlock(conn)


async def _reset(conn: Connection, nc: NATS, projection: type[Projection], patience: float) -> Reset:
    replaced = await cutover.live_build(conn, projection)
    if replaced is None:
        raise NothingToReset(projection)
    after = await begin.required(nc, projection)
    gaps = [gap for gap in await lost_events.known(conn, nc, projection) if gap.last > after.sequence(gap.stream)]
    if gaps:
        raise EventsLost(projection.name, gaps)
    for build in await builds.builds_of(conn, projection.name, projection.version):
        # Of an interrupted rebuild, which has applied some events.
        if build.state is BuildState.BUILDING:
            await cutover.drop_build(conn, projection, build)
    empty = await cutover.start_build(conn, projection, after=after)
    await tables.add_indexes(conn, projection, empty)
    position = await _cut_over(conn, projection, empty, patience)
    await kept_builds.drop_superseded(conn, projection)
    begins_after = Position({stream: after.sequence(stream) for stream in projection.filters()})
    await announce(nc, projection, empty, begins_after)
    return Reset(
        projection=projection.name,
        version=projection.version,
        build=empty.build,
        replaced=replaced.build,
        position=dict(position.sequences),
        kept=(await kept_builds.kept(conn, projection))[0].build,
    )


async def _cut_over(conn: Connection, projection: type[Projection], empty: Build, patience: float) -> Position:
    """Makes the empty build live; returns the position of the one that it replaces."""
    position = Position()

    async def catch_up(target: Position) -> bool:
        nonlocal position
        position = target
        return True

    deadline = time.monotonic() + patience
    while True:
        reader = await cutover.blocking_reader(conn, projection)
        if reader is None and await cutover.cut_over(conn, projection, empty, catch_up):
            return position
        if time.monotonic() > deadline:
            await cutover.drop_build(conn, projection, empty)
            raise ReadersBusy(projection, patience, reader)
        await asyncio.sleep(_PAUSE_SECONDS)
