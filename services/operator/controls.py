"""Pauses, resumes and resets projections, and skips events, for the page, with the code that the command line runs."""

from enum import StrEnum

import msgspec
from nats.aio.client import Client as NATS

from infra.security.service_schemas import CachedSchemas
from projections.engine.controls.pause import pause, resume
from projections.engine.controls.reset import reset
from projections.engine.controls.skip import skip
from projections.engine.projection import Projection
from services.operator.actions.recorder import Act
from services.operator.dead_letters.actions import operator_database
from streams.log import Log


class Control(StrEnum):
    PAUSE = "pause"
    RESUME = "resume"
    SKIP = "skip"
    RESET = "reset"


class Controlled(msgspec.Struct, frozen=True, kw_only=True):
    """What a control has done."""

    projection: str
    version: int
    control: Control
    # Where the projection is paused, or was before a reset.
    position: dict[str, int] = {}
    # Of a reset: the empty build, and the one that is kept.
    build: int | None = None
    replaced: int | None = None
    # The event that is skipped, such as `MESSAGING 17`.
    event: str | None = None


class Controls:
    def __init__(self, nc: NATS, log: Log, schemas: CachedSchemas) -> None:
        """`log`: with the right to append to OPERATOR."""
        self._nc = nc
        self._log = log
        self._schemas = schemas

    async def run(self, control: Control, projection: type[Projection], reason: str, act: Act) -> Controlled:
        """
        Raises:
            OperatorError: it is not possible as things are; nothing was done.
            Unavailable: the database or NATS does not answer; it may have been done.
        """
        done = Controlled(projection=projection.name, version=projection.version, control=control)
        database_url = (await self._schemas.get()).url(projection.run_by())
        if control is Control.RESET:
            replaced = await reset(projection, self._nc, database_url)
            return msgspec.structs.replace(
                done, position=replaced.position, build=replaced.build, replaced=replaced.replaced
            )
        async with operator_database(database_url) as conn:
            if control is Control.PAUSE:
                paused = await pause(conn, projection, reason=reason, by=act.actor.name)
                return msgspec.structs.replace(done, position=paused.position)
            if control is Control.RESUME:
                await resume(conn, projection)
                return done
            skipped = await skip(conn, self._nc, self._log, projection, reason=reason, by=act.actor.name)
            act.is_final = True
            return msgspec.structs.replace(done, event=f"{skipped.stream} {skipped.sequence}")
