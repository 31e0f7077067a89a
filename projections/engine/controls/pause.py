"""Pauses and resumes a projection, for the command line and the operators' page.

Both call these functions with a connection for this operator alone, in autocommit mode, to the schema of the
projection's service (`ServiceSchemas.url(projection.run_by())`), after `ensure_schema`. They record the act first:

    async with recorder.acting(actor, "read_model.pause", target=projection.name, reason=reason) as act:
        paused = await pause(conn, projection, reason=reason, by=act.actor.name)

A pause stops the service's runners, in every replica. What operators start goes on: a rebuild still replaces the live
build, which then stays where it is, and dead letters can be retried.
"""

import msgspec
from psycopg import errors

from infra.operator_errors import OperatorError
from projections.engine.controls.waiting import PATIENCE, set_lock_timeout, writer_busy
from projections.engine.projection import Projection
from projections.engine.storage import builds, dead_letters, pauses
from projections.engine.storage.builds import BuildState, Connection
from projections.engine.storage.pauses import Pause


class AlreadyPaused(OperatorError):
    """Another operator has paused the projection."""

    def __init__(self, projection: type[Projection], pause: Pause) -> None:
        self.pause = pause
        super().__init__(
            f"{projection.name} is paused already, by {pause.paused_by} since {pause.paused_at:%Y-%m-%d %H:%M:%S}:"
            f" {pause.reason}"
        )


class NotPaused(OperatorError):
    """There is no pause to end."""

    def __init__(self, projection: type[Projection]) -> None:
        super().__init__(f"version {projection.version} of {projection.name} is not paused")


class Paused(msgspec.Struct, frozen=True, kw_only=True):
    """A projection that stays at a position until it is resumed."""

    projection: str
    version: int
    # Of its live build, or of its first one; empty if there is none.
    position: dict[str, int]
    pause: Pause


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    projection: str
    version: int
    # The pause that has ended.
    pause: Pause


async def pause(
    conn: Connection, projection: type[Projection], *, reason: str, by: str, patience: float = PATIENCE
) -> Paused:
    """Pauses the projection: once this returns, no service applies an event to it, whichever replica tries.

    `patience`: seconds to wait for a writer.

    Raises:
        AlreadyPaused: by this operator or another one; nothing was changed.
        WriterBusy: nothing was changed.
    """
    try:
        async with conn.transaction():
            await set_lock_timeout(conn, patience)
            added = await pauses.add(conn, projection.name, projection.version, reason=reason, by=by)
            if added is not None:
                position: dict[str, int] = {}
                for build in await builds.hold_version(conn, projection.name, projection.version):
                    # Its writer asserts the revision with each batch, and looks for a pause when it has changed.
                    await dead_letters.revise(conn, build)
                    if build.state is BuildState.LIVE or not position:
                        position = dict((await builds.checkpoints(conn, build)).sequences)
                return Paused(projection=projection.name, version=projection.version, position=position, pause=added)
            known = await pauses.get(conn, projection.name, projection.version)
    except errors.LockNotAvailable as error:
        raise await writer_busy(conn, projection) from error
    # It may have ended meanwhile.
    raise AlreadyPaused(projection, known) if known is not None else await writer_busy(conn, projection)


async def resume(conn: Connection, projection: type[Projection]) -> Resumed:
    """Ends the pause; the service goes on within a second, where the projection has stopped.

    Raises:
        NotPaused: nothing was changed.
    """
    ended = await pauses.remove(conn, projection.name, projection.version)
    if ended is None:
        raise NotPaused(projection)
    return Resumed(projection=projection.name, version=projection.version, pause=ended)
