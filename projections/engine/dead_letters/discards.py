"""Discards: events that an operator has discarded, which every build of a projection's version skips.

The stream OPERATOR is the source of truth. The table `projection_discards` is a copy beside the builds, so that a
build's writer and the readers of its rows see it in one snapshot with the rows. A discard is appended while its
transaction locks the builds, right before the commit; if the commit fails, `catch_up` completes the discard later.
"""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
from nats.aio.client import Client as NATS
from psycopg.rows import kwargs_row

from contracts.envelope import Provenance, seal
from contracts.events.dead_letter import DeadLetterDiscarded
from contracts.subjects import DEAD_LETTERS_FILTER, dead_letter
from projections.engine.reading.operator_events import operator_events
from projections.engine.storage import builds, dead_letters
from projections.engine.storage.builds import Build, Connection
from projections.engine.storage.dead_letters import Discards, LetterId, aggregate_of
from streams.log import Append, Log
from streams.message import Message

logger = logging.getLogger(__name__)
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '10s'"
_COLUMNS = "projection, version, build, stream, sequence, subject, type, error, reason, discarded_by, discarded_at"
_KEEP = f"""
INSERT INTO projection_discards ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""  # noqa: S608
_KEPT = f"SELECT {_COLUMNS} FROM projection_discards WHERE projection = %s"  # noqa: S608


class Discarded(msgspec.Struct, frozen=True, kw_only=True):
    """An event that every build of the version skips, with who discarded it, when and why."""

    projection: str
    version: int
    # The build in which it had failed.
    build: int
    stream: str
    sequence: int
    subject: str
    type: str
    # Why it could not be applied.
    error: str
    reason: str
    discarded_by: str
    discarded_at: datetime

    @property
    def id(self) -> LetterId:
        return LetterId(self.projection, self.version, self.build, self.stream, self.sequence)

    @property
    def key(self) -> tuple[str, int, str, int]:
        """The discarded event and the version that skips it, without the build it failed in."""
        return self.projection, self.version, self.stream, self.sequence

    @property
    def aggregate_id(self) -> str:
        return aggregate_of(self.subject)


async def recorded(nc: NATS) -> list[Discarded]:
    """Reads every discard that was appended before this call, of all projections and versions, oldest first.

    Raises:
        Unavailable: NATS does not answer, or this user may not read OPERATOR.
        StreamMissing: there is no stream OPERATOR.
    """
    messages = await operator_events(nc, DEAD_LETTERS_FILTER, name="discards")
    return [discard for message in messages if (discard := _opened(message)) is not None]


def of_version(discards: Iterable[Discarded], projection: str, version: int) -> Discards:
    """The events that every build of the version skips."""
    return frozenset(
        (discard.stream, discard.sequence)
        for discard in discards
        if (discard.projection, discard.version) == (projection, version)
    )


async def append(log: Log, discard: Discarded, actor: str) -> None:
    """Appends the discard to OPERATOR, with `discarded_at` as the event's time in milliseconds.

    `log`: needs the permission to append to OPERATOR.

    Raises:
        Conflict: the event was discarded before.
        Unavailable, Overloaded, HistoryLost: it is not recorded.
        DeadlineExceeded: it is unknown whether it is recorded.
    """
    subject = dead_letter(*discard.key)
    at = discard.discarded_at.astimezone(UTC)
    event = DeadLetterDiscarded(
        projection=discard.projection,
        projection_version=discard.version,
        build=discard.build,
        stream=discard.stream,
        sequence=discard.sequence,
        subject=discard.subject,
        event_type=discard.type,
        error=discard.error,
        reason=discard.reason,
        by=discard.discarded_by,
    )
    envelope = seal(
        event,
        aggregate_id=aggregate_of(subject),
        version=1,
        provenance=Provenance(actor=actor),
        at=at.replace(microsecond=at.microsecond // 1000 * 1000),
    )
    await log.append(Append(subject=subject, expected=0, envelope=envelope))


async def of_letter(log: Log, letter: LetterId) -> Discarded | None:
    """The discard of a dead letter's event, read from the stream's leader.

    Raises:
        Unavailable: NATS does not answer.
    """
    last = await log.last(dead_letter(letter.projection, letter.version, letter.stream, letter.sequence))
    return None if last is None else _opened(last)


async def kept(conn: Connection, projection: str) -> list[Discarded]:
    """The projection's discards in the table."""
    async with conn.cursor(row_factory=kwargs_row(Discarded)) as cursor:
        await cursor.execute(_KEPT, (projection,))
        return await cursor.fetchall()


async def keep(conn: Connection, discard: Discarded) -> None:
    """Copies the discard into the table, in the transaction that removes the event from the builds' dead letters."""
    await conn.execute(_KEEP, msgspec.structs.astuple(discard))


async def catch_up(conn: Connection, nc: NATS, projection: str) -> None:
    """Copies the projection's discards from the stream to the table, and removes them from the builds' dead letters.

    Runs before a build from scratch, and after an interrupted discard.

    Raises:
        psycopg.errors.LockNotAvailable: a build's writer held its lock for too long.
        others: as `recorded`.
    """
    of_projection = [discard for discard in await recorded(nc) if discard.projection == projection]
    if not of_projection:
        return
    known = {discard.key for discard in await kept(conn, projection)}
    fresh = [discard for discard in of_projection if discard.key not in known]
    for version in sorted({discard.version for discard in fresh}):
        async with conn.transaction():
            await conn.execute(_LOCK_TIMEOUT)
            held = await hold(conn, projection, version)
            for discard in fresh:
                if discard.version == version:
                    await keep(conn, discard)
                    for build in held:
                        await dead_letters.leave_out(conn, build, discard.stream, discard.sequence)
            for build in held:
                await dead_letters.revise(conn, build)


async def hold(conn: Connection, projection: str, version: int) -> list[Build]:
    """Locks every build of the version, shadows excepted, against its writer, and against the creation of builds."""
    # A build that is created during this transaction would miss its discards.
    await builds.lock_build_numbers(conn)
    return await builds.hold_version(conn, projection, version)


def _opened(message: Message) -> Discarded | None:
    try:
        event = message.open()
    except (LookupError, msgspec.DecodeError) as error:
        # The event is of a later release, which will read it.
        logger.warning("%s %d cannot be read: %s", message.stream, message.sequence, error)
        return None
    data = event.data
    if not isinstance(data, DeadLetterDiscarded):
        return None
    return Discarded(
        projection=data.projection,
        version=data.projection_version,
        build=data.build,
        stream=data.stream,
        sequence=data.sequence,
        subject=data.subject,
        type=data.event_type,
        error=data.error,
        reason=data.reason,
        discarded_by=data.by,
        discarded_at=event.at,
    )
