"""Discards: events that operators have given up, which every build of a version of a projection leaves out.

The stream OPERATOR has them, and nothing else decides. The table `projection_discards` is a copy beside the builds, so
that a build's writer and the readers of its rows see it together with the rows. A discard is appended while its
transaction holds the builds, right before the commit; where that fails, `catch_up` does the rest later.
"""

import asyncio
import logging
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
from nats.aio.client import Client as NATS
from psycopg.rows import kwargs_row

from contracts.envelope import Provenance, seal
from contracts.errors import Unavailable
from contracts.events.dead_letter import DeadLetterDiscarded
from contracts.subjects import DEAD_LETTERS_FILTER, OPERATOR, dead_letter
from contracts.values.personal_data import plaintext_or_none
from projections.engine.storage import builds, dead_letters
from projections.engine.storage.builds import Build, Connection
from projections.engine.storage.dead_letters import Discards, LetterId, aggregate_of
from streams.log import Append, Conflict, Log
from streams.message import Message
from streams.reader import Reader

logger = logging.getLogger(__name__)
# Seconds that the stream may take to be read; there are as many discards as operators have decided on.
_PATIENCE = 10.0
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '10s'"
_COLUMNS = "projection, version, build, stream, sequence, subject, type, error, reason, discarded_by, discarded_at"
_KEEP = f"""
INSERT INTO projection_discards ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""  # noqa: S608
# Asked first, since PostgreSQL logs an error for each query on a table that is not there.
_INSTALLED = "SELECT to_regclass('projection_discards') IS NOT NULL"
_KEPT = f"SELECT {_COLUMNS} FROM projection_discards WHERE projection = coalesce(%s::text, projection)"  # noqa: S608


class Discarded(msgspec.Struct, frozen=True, kw_only=True):
    """An event that every build of the version leaves out, who decided so, when and why."""

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
    def place(self) -> tuple[str, int, str, int]:
        """What is left out of what, whichever build it failed in."""
        return self.projection, self.version, self.stream, self.sequence

    @property
    def aggregate_id(self) -> str:
        return aggregate_of(self.subject)


async def recorded(nc: NATS) -> list[Discarded]:
    """Every discard that was appended before this call, of all projections and versions, oldest first.

    Raises:
        Unavailable: NATS does not answer, or this party may not read OPERATOR.
        StreamMissing: there is no stream OPERATOR.
    """
    found: list[Discarded] = []
    try:
        async with (
            asyncio.timeout(_PATIENCE),
            Reader(nc, OPERATOR, subject_filter=DEAD_LETTERS_FILTER, name="discards", patience=1.0) as reader,
        ):
            async for batch in reader.batches():
                found += [discard for message in batch.messages if (discard := _opened(message)) is not None]
                if batch.pending == 0:
                    return found
    except TimeoutError as error:
        raise Unavailable("NATS does not say what was discarded.") from error
    except PermissionError as error:
        # The rights at the server are those of an older release, as a rule.
        raise Unavailable(f"What was discarded is not known: {error}.") from error
    raise AssertionError("a reader has no end")


def of_version(found: Iterable[Discarded], projection: str, version: int) -> Discards:
    """The events that every build of the version leaves out."""
    return frozenset(
        (each.stream, each.sequence) for each in found if (each.projection, each.version) == (projection, version)
    )


async def append(log: Log, discard: Discarded, actor: str | None) -> None:
    """Records the discard; with the time that it names.

    `log`: with the right to append to OPERATOR.

    Raises:
        Conflict: somebody has decided on the event before.
        Unavailable, Overloaded, HistoryLost: it is not recorded.
        DeadlineExceeded: whether it is recorded is not known.
    """
    subject = dead_letter(*discard.place)
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
    """The discard of a dead letter's event, by the word of the stream's leader.

    Raises:
        Unavailable: NATS does not answer.
    """
    last = await log.last(dead_letter(letter.projection, letter.version, letter.stream, letter.sequence))
    return None if last is None else _opened(last)


async def kept(conn: Connection, projection: str | None = None) -> list[Discarded]:
    """What the table has, of one projection or of all."""
    async with conn.cursor(row_factory=kwargs_row(Discarded)) as cursor:
        await cursor.execute(_KEPT, (projection,))
        return await cursor.fetchall()


async def keep(conn: Connection, discard: Discarded) -> None:
    """Copies the discard into the table, in the transaction in which the builds leave the event out."""
    await conn.execute(_KEEP, msgspec.structs.astuple(discard))


async def catch_up(conn: Connection, nc: NATS, projection: str) -> None:
    """Brings the table up to what the stream says of the projection, and takes those events from the builds' letters.

    Before anything is built from nothing, and after a discard that was interrupted.

    Raises:
        psycopg.errors.LockNotAvailable: a build's writer did not make room.
        others: as `recorded`.
    """
    of_projection = [discard for discard in await recorded(nc) if discard.projection == projection]
    if not of_projection:
        return
    known = {discard.place for discard in await kept(conn, projection)}
    fresh = [discard for discard in of_projection if discard.place not in known]
    for version in sorted({discard.version for discard in fresh}):
        async with conn.transaction():
            await conn.execute(_LOCK_TIMEOUT)
            held = await hold(conn, projection, version)
            for discard in fresh:
                if discard.version == version:
                    await keep(conn, discard)
                    for build in held:
                        await dead_letters.leave_out(conn, build, discard.stream, discard.sequence, discard.subject)
            for build in held:
                await dead_letters.revise(conn, build)


async def hold(conn: Connection, projection: str, version: int) -> list[Build]:
    """Locks every build of the version but shadows against their writers, and against further builds."""
    # A build that is added at this moment would not know of what is done here.
    await builds.lock_build_numbers(conn)
    return await builds.hold_version(conn, projection, version)


async def carry_over(conn: Connection, nc: NATS, log: Log, until: datetime) -> int:
    """Appends the discards of an older release, which are in the table alone; returns how many.

    `until`: from when on the stream was there: what the table says of later is a copy. Nobody is their actor, since a
    service may write in its own tables.

    Raises:
        as `recorded` and `append`.
    """
    if await (await conn.execute(_INSTALLED)).fetchone() != (True,):
        return 0
    known = {discard.place for discard in await recorded(nc)}
    count = 0
    for discard in await kept(conn):
        if discard.discarded_at < until and discard.place not in known:
            try:
                await append(log, discard, None)
            except Conflict:
                continue
            count += 1
    return count


def _opened(message: Message) -> Discarded | None:
    try:
        event = message.open()
    except (LookupError, msgspec.DecodeError) as error:
        # Of a later release; what it means is for that to say.
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
        error=plaintext_or_none(data.error) or "",
        reason=plaintext_or_none(data.reason) or "",
        discarded_by=plaintext_or_none(data.by) or "",
        discarded_at=event.at,
    )
