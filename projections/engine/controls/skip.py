"""Passes over the event that a failed projection stops at, for the command line and the operators' page.

Both record the act first (`pause.py` shows how); the connections are those of a discard.

An event that cannot be applied becomes a dead letter, and an operator may discard it. A projection stops only at an
event whose row cannot be determined, since nothing says what would have to wait for it. To skip it is to discard it:
every build of the version omits it, and so do rebuilds and verifications.
"""

from nats.aio.client import Client as NATS
from psycopg import errors

from contracts.envelope import now
from infra.operator_errors import OperatorError
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.sequential.events import KeyUnknown
from projections.engine.controls.waiting import PATIENCE, set_lock_timeout, writer_busy
from projections.engine.dead_letters import discards
from projections.engine.dead_letters.discards import Discarded
from projections.engine.dead_letters.outcomes import AlreadyDiscarded, AppliedElsewhere
from projections.engine.projection import Projection
from projections.engine.reading.stream_sources import Sources
from projections.engine.running import last_errors
from projections.engine.running.last_errors import LastError
from projections.engine.storage import builds, dead_letters
from projections.engine.storage.builds import Build, BuildState, Connection
from projections.engine.storage.dead_letters import LetterId
from streams.log import Conflict, Log

# The event is in the batch that fails, which is read from the checkpoint on.
_MOST_EVENTS = 100_000


class NotStopped(OperatorError):
    """The projection does not stop at an event."""

    def __init__(self, projection: type[Projection], why: str) -> None:
        super().__init__(f"{projection.name} does not stop at an event: {why}")


async def skip(
    conn: Connection,
    nc: NATS,
    log: Log,
    projection: type[Projection],
    *,
    reason: str,
    by: str,
    patience: float = PATIENCE,
) -> Discarded:
    """Discards the event that the projection stops at; its service goes on within seconds.

    `conn`: in autocommit mode, for this operator alone.
    `log`: needs the permission to append to OPERATOR.
    `patience`: seconds to wait for a writer.

    Raises:
        NotStopped: it has not failed, or not because of an event.
        AlreadyDiscarded: another operator has skipped the event.
        AppliedElsewhere: a running rebuild has applied it.
        WriterBusy: nothing was done.
        Unavailable, Overloaded, HistoryLost: the stream did not accept it, nothing was done.
        DeadlineExceeded: it is unknown whether the stream has it.
    """
    await discards.catch_up(conn, nc, projection.name)
    failure = await last_errors.failure(conn, projection.name, projection.version)
    if failure is None:
        raise NotStopped(projection, "it has not failed; its dead letters are in `vestnik dead-letters list`")
    build = await _filled(conn, projection)
    stop = None if build is None else await _stopping_event(conn, nc, projection, build)
    if build is None or stop is None:
        raise NotStopped(projection, _no_event(failure))
    message = stop.message
    skipped = Discarded(
        projection=projection.name,
        version=projection.version,
        build=build.build,
        stream=message.stream,
        sequence=message.sequence,
        subject=message.subject,
        type=stop.event_type,
        error=stop.reason,
        reason=reason,
        discarded_by=by,
        discarded_at=now(),
    )
    try:
        async with conn.transaction():
            await set_lock_timeout(conn, patience)
            for held in await discards.hold(conn, projection.name, projection.version):
                await _assert_not_applied(conn, projection, held, skipped.id)
                # Its writer reads what to skip again.
                await dead_letters.revise(conn, held)
            await discards.keep(conn, skipped)
            await discards.append(log, skipped, f"operator:{by}")
    except errors.LockNotAvailable as error:
        raise await writer_busy(conn, projection) from error
    except Conflict as conflict:
        recorded = await discards.of_letter(log, skipped.id)
        if recorded is None:
            raise
        raise AlreadyDiscarded(recorded) from conflict
    return skipped


def _no_event(failure: LastError) -> str:
    """The message for a failed projection that does not stop at an event."""
    if not failure.error.startswith(f"{KeyUnknown.__name__}: "):
        return f"it fails with {failure.error}"
    # Another operator skipped it, or it has a row by the code that is deployed now.
    return "the one that it stopped at is passed over or can be applied now; it goes on within seconds, unless paused"


async def _filled(conn: Connection, projection: type[Projection]) -> Build | None:
    """The build that the service applies events to: the live one, or the first one."""
    known = await builds.builds_of(conn, projection.name, projection.version)
    live = [build for build in known if build.state is BuildState.LIVE]
    unfinished = [build for build in known if build.state is BuildState.BUILDING]
    return next(iter(live + unfinished[::-1]), None)


async def _stopping_event(conn: Connection, nc: NATS, projection: type[Projection], build: Build) -> KeyUnknown | None:
    """The first event whose row the current code cannot determine; nothing is written."""
    writer = await BuildWriter.open(conn, projection, build)
    filters = projection.filters()
    at_end: set[str] = set()
    read = 0
    try:
        async with Sources(nc, filters, writer.position, name=f"skip-{projection.name}") as sources:
            while len(at_end) < len(filters) and read < _MOST_EVENTS:
                stream, piece = await sources.next()
                read += len(piece.messages)
                await writer.add_to_batch(writer.batch(), stream, piece.messages, piece.position)
                if not piece.pending:
                    at_end.add(stream)
    except KeyUnknown as stop:
        return stop
    return None


async def _assert_not_applied(conn: Connection, projection: type[Projection], build: Build, skipped: LetterId) -> None:
    if (await builds.checkpoints(conn, build)).sequence(skipped.stream) < skipped.sequence:
        return
    if build.state is BuildState.LIVE:
        raise NotStopped(projection, "it has applied the event meanwhile")
    if build.state is BuildState.BUILDING:
        raise AppliedElsewhere(skipped, build.build)
