"""Pauses, resumes and resets projections, and skips events, for the page, with the code that the command line runs.

A control ends before the deadline of the request that asks for it, so that the operator gets its answer. It waits less
long for writers and readers than a command does.
"""

import asyncio
import time
from enum import StrEnum

import msgspec
from nats.aio.client import Client as NATS

from contracts.deadlines import REQUEST
from contracts.errors import DeadlineExceeded
from infra.rpc.call_context import current
from infra.security.service_schemas import CachedSchemas
from projections.engine.controls.pause import pause, resume
from projections.engine.controls.reset import reset
from projections.engine.controls.skip import skip
from projections.engine.projection import Projection
from projections.engine.storage.operator_connection import operator_connection
from services.operator.actions.recorder import Act
from streams.log import Log

# Seconds before the deadline by which a control ends: its act is recorded and the answer sent after that.
_RESERVED = 1.0
# The part of the remaining time to wait for a writer or for readers: an attempt that has begun ends later.
_PATIENCE = 0.5


class Control(StrEnum):
    PAUSE = "pause"
    RESUME = "resume"
    SKIP = "skip"
    RESET = "reset"


class Controlled(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a control."""

    projection: str
    version: int
    control: Control
    # Where the projection is paused, or was before a reset.
    position: dict[str, int] = {}
    # Of a reset: the empty build, the one that it has replaced, and the one that is kept to go back to.
    build: int | None = None
    replaced: int | None = None
    kept: int | None = None
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
            DeadlineExceeded: it took too long; it may have been done.
            Unavailable: the database or NATS does not answer; it may have been done.
        """
        deadline = current().deadline
        seconds = (REQUEST if deadline is None else deadline - time.monotonic()) - _RESERVED
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                return await self._run(control, projection, reason, act, patience=seconds * _PATIENCE)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"{projection.name}: `{control}` took longer than {seconds:.0f} s; the status says whether it was done."
            ) from error

    async def _run(
        self, control: Control, projection: type[Projection], reason: str, act: Act, *, patience: float
    ) -> Controlled:
        done = Controlled(projection=projection.name, version=projection.version, control=control)
        database_url = (await self._schemas.get()).url(projection.run_by())
        if control is Control.RESET:
            reached = await reset(projection, self._nc, database_url, patience=patience)
            return msgspec.structs.replace(
                done, position=reached.position, build=reached.build, replaced=reached.replaced, kept=reached.kept
            )
        by = act.actor.recorded_name
        async with operator_connection(database_url, "operator") as conn:
            if control is Control.PAUSE:
                paused = await pause(conn, projection, reason=reason, by=by, patience=patience)
                return msgspec.structs.replace(done, position=paused.position)
            if control is Control.RESUME:
                await resume(conn, projection)
                return done
            skipped = await skip(conn, self._nc, self._log, projection, reason=reason, by=by, patience=patience)
            act.is_final = True
            return msgspec.structs.replace(done, event=f"{skipped.stream} {skipped.sequence}")
