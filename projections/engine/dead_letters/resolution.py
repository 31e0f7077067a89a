"""Resolves dead letters: retries them with the current code, or discards one.

Each aggregate is resolved separately, and so is each row that events are folded into: what is said of an aggregate
holds for such a row. A transaction locks the build against its writer, applies as many of the aggregate's dead letters
as possible in order, deletes those, and gives the list of dead letters a new revision. The writer asserts the revision
with every batch: it can neither overtake nor apply an event twice, and its next batch unblocks the aggregate. Events of
the aggregate that arrive meanwhile are parked behind, and tried in the same run. A row is first folded again from the
stream, up to its first dead letter.
"""

from collections.abc import Sequence

from psycopg import Error as DatabaseError
from psycopg import errors

from contracts.envelope import now
from contracts.errors import VestnikError
from contracts.positions import Position
from infra.operator_errors import OperatorError
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.merging.row_merging import RowGroup
from projections.engine.dead_letters import discards, queries
from projections.engine.dead_letters.discards import Discarded
from projections.engine.dead_letters.fold_retry import CannotFoldAgain, RowFromStream
from projections.engine.dead_letters.outcomes import (
    AlreadyDiscarded,
    AppliedElsewhere,
    BlockedByEarlier,
    BuildGone,
    BuildLocked,
    EventMissing,
    Interrupted,
    OtherVersion,
    Retried,
)
from projections.engine.dead_letters.queries import DeadLetterRow
from projections.engine.projection import Projection
from projections.engine.storage import builds, dead_letters, tables
from projections.engine.storage.builds import Build, BuildState, Connection
from projections.engine.storage.dead_letters import DeadLetter, DeadLetterState, LetterId, reason_of
from projections.engine.storage.pg_text import REFUSALS
from projections.engine.storage.tables import Table
from streams.log import Conflict, Log
from streams.message import Message

# Dead letters retried in one transaction, for which the build's writer waits.
PAGE = 2_000
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '10s'"
_PAGE_OF = """
SELECT sequence FROM projection_dead_letters
WHERE (projection, version, build, stream, md5(coalesce(fold_key, subject))) = (%s, %s, %s, %s, md5(%s))
ORDER BY sequence LIMIT %s
"""
_FAIL = """
UPDATE projection_dead_letters SET state = 'failed', reason = %s, attempts = attempts + %s, tried_at = now()
WHERE (projection, version, build, stream, sequence) = (%s, %s, %s, %s, %s)
"""


async def first_failures(conn: Connection, projection: type[Projection]) -> list[DeadLetterRow]:
    """The first dead letter of each aggregate or folded row, in the builds in use of the current version."""
    heads = await queries.list_heads(conn, projection.name)
    return [letter for letter in heads if letter.version == projection.version]


async def retryable_letter(conn: Connection, letter_id: LetterId) -> DeadLetterRow:
    """Returns the dead letter if it can be resolved.

    Raises:
        NoSuchLetter, BlockedByEarlier, AlreadyDiscarded, BuildGone: it cannot.
    """
    letter = await queries.get_dead_letter(conn, letter_id)
    if isinstance(letter, Discarded):
        raise AlreadyDiscarded(letter)
    if letter.first != letter.sequence:
        raise BlockedByEarlier(letter)
    if letter.build_state not in (BuildState.LIVE, BuildState.BUILDING):
        raise BuildGone(letter_id)
    return letter


async def retry(conn: Connection, log: Log, projection: type[Projection], letter: DeadLetterRow) -> Retried:
    """Retries an aggregate's dead letters in order, until none is left or one fails again.

    `conn`: in autocommit mode, for this operator alone.

    Raises:
        OtherVersion, BuildGone, AlreadyDiscarded, EventMissing, BuildLocked: nothing was done.
        Unavailable, psycopg.Error: the streams or the database were lost; it may have been applied.
        Interrupted: any of these, after some had been applied.
    """
    if letter.version != projection.version:
        raise OtherVersion(letter.id, projection.version)
    build = letter.of_build()
    known = await tables.inspect(conn, projection, build)
    row = None if letter.fold_key is None else RowFromStream(projection, known, letter, letter.fold_key)
    subjects = letter.subject if row is None else row.subjects
    applied = 0
    while True:
        try:
            page = await _page(conn, letter)
            before: list[RowGroup] = []
            if row is not None and page and not applied:
                skipped = await dead_letters.discards(conn, projection.name, projection.version)
                begin = (await builds.begin_of(conn, build)).sequence(letter.stream)
                before = await row.before(log, begin, page[0], skipped)
            messages = await _read(log, letter.stream, subjects, page)
            done, failed, more = await _retry_page(
                conn, log, projection, build, known, letter, row, subjects, before, messages
            )
            applied += done
            if failed is not None or not more:
                left = await _left(conn, letter)
                break
        except (OperatorError, VestnikError, DatabaseError) as error:
            if not applied:
                raise
            raise Interrupted(applied, error) from error
    return Retried(
        id=str(letter.id),
        outcome="applied" if failed is None else "failed",
        applied=applied,
        left=left,
        failed_id=None if failed is None else str(letter.id._replace(sequence=failed.message.sequence)),
        reason=None if failed is None else failed.reason,
    )


async def discard(conn: Connection, log: Log, letter: DeadLetterRow, reason: str, by: str) -> None:
    """Discards the event permanently: every build of this version of the projection skips it.

    The events parked behind it still have to be retried; the first of them counts as failed until then. Once appended,
    the discard is final, even if the database is lost before the commit: `discards.catch_up` completes it.

    `log`: needs the permission to append to OPERATOR.

    Raises:
        NoSuchLetter, BlockedByEarlier, AlreadyDiscarded, BuildGone: it was resolved meanwhile.
        AppliedElsewhere: a running rebuild has applied it.
        BuildLocked: the build's writer held its lock for too long.
        Unavailable, Overloaded, HistoryLost: the stream did not accept it, nothing was done.
        DeadlineExceeded: it is unknown whether the stream has it.
    """
    try:
        async with conn.transaction():
            await conn.execute(_LOCK_TIMEOUT)
            held = await discards.hold(conn, letter.projection, letter.version)
            # Read again under the lock: now no one else can resolve it.
            letter = await retryable_letter(conn, letter.id)
            for build in held:
                await _skip_event(conn, build, letter)
            discarded = Discarded(
                projection=letter.projection,
                version=letter.version,
                build=letter.build,
                stream=letter.stream,
                sequence=letter.sequence,
                subject=letter.subject,
                type=letter.type,
                error=letter.reason,
                reason=reason,
                discarded_by=by,
                discarded_at=now(),
            )
            await discards.keep(conn, discarded)
            await discards.append(log, discarded, f"operator:{by}")
    except errors.LockNotAvailable as error:
        raise BuildLocked(letter.of_build()) from error
    except Conflict as conflict:
        recorded = await discards.of_letter(log, letter.id)
        if recorded is None:
            raise
        raise AlreadyDiscarded(recorded) from conflict


async def _retry_page(
    conn: Connection,
    log: Log,
    projection: type[Projection],
    build: Build,
    known: dict[str, Table],
    letter: DeadLetterRow,
    row: RowFromStream | None,
    subjects: str,
    before: Sequence[RowGroup],
    messages: dict[int, Message],
) -> tuple[int, DeadLetter | None, bool]:
    """Retries one page in one transaction; returns the number applied, the one that failed, and whether more remain."""
    try:
        async with conn.transaction():
            await conn.execute(_LOCK_TIMEOUT)
            if not await builds.lock_build(conn, build):
                raise BuildGone(letter.id)
            page = await _page(conn, letter)
            if before and page[:1] != [min(messages)]:
                # Another operator has resolved some of them: the row has to be folded again.
                return 0, None, True
            if page and (given_up := await discards.of_letter(log, letter.id._replace(sequence=page[0]))):
                # The discard was interrupted.
                raise AlreadyDiscarded(given_up)
            # Dead letters may have been added since the page was read.
            missing = [sequence for sequence in page if sequence not in messages]
            messages |= await _read(log, letter.stream, subjects, missing)
            if row is not None:
                row.check(messages[sequence] for sequence in page)
            filling = BuildWriter(conn, projection, build, known, Position(), DeadLetterState())
            try:
                left = await filling.reapply([messages[sequence] for sequence in page], before)
            except REFUSALS as refusal:
                # Other refusals are dead letters: this one is of the row before them.
                raise CannotFoldAgain(letter, reason_of(refusal, letter.type)) from refusal
            applied = page[: page.index(left[0].message.sequence)] if left else page
            await dead_letters.remove(conn, build, letter.stream, applied)
            if left:
                await conn.execute(_FAIL, (left[0].reason, 1, *build.id, letter.stream, left[0].message.sequence))
            elif len(page) == PAGE:
                await dead_letters.promote(conn, build, letter.stream, letter.lane)
            await dead_letters.revise(conn, build)
    except errors.LockNotAvailable as error:
        raise BuildLocked(build) from error
    return len(applied), left[0] if left else None, len(page) == PAGE


async def _page(conn: Connection, letter: DeadLetterRow) -> list[int]:
    """The sequences of the first dead letters of the letter's aggregate or row, at most `PAGE`."""
    cursor = await conn.execute(_PAGE_OF, (*letter.of_build().id, letter.stream, letter.lane, PAGE))
    return [int(str(sequence)) for (sequence,) in await cursor.fetchall()]


async def _left(conn: Connection, letter: DeadLetterRow) -> int:
    cursor = await conn.execute(
        "SELECT count(*) FROM projection_dead_letters"
        " WHERE (projection, version, build, stream, md5(coalesce(fold_key, subject))) = (%s, %s, %s, %s, md5(%s))",
        (*letter.of_build().id, letter.stream, letter.lane),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(str(row[0]))


async def _read(log: Log, stream: str, subjects: str, sequences: Sequence[int]) -> dict[int, Message]:
    """The events of these sequences, of a subject or a pattern of subjects."""
    messages: dict[int, Message] = {}
    wanted = set(sequences)
    after = sequences[0] - 1 if sequences else 0
    while len(messages) < len(wanted):
        read = await log.read(subjects, after=after, limit=PAGE)
        messages |= {message.sequence: message for message in read if message.sequence in wanted}
        if not read or (read[-1].sequence >= sequences[-1] and len(messages) < len(wanted)):
            raise EventMissing(stream, min(wanted - messages.keys()))
        after = read[-1].sequence
    return messages


async def _skip_event(conn: Connection, build: Build, letter: DeadLetterRow) -> None:
    """Removes the event from the build's dead letters; a build that has not reached it yet will skip it by itself."""
    if not await dead_letters.leave_out(conn, build, letter.stream, letter.sequence):
        checkpoint = (await builds.checkpoints(conn, build)).sequence(letter.stream)
        if build.state is BuildState.BUILDING and checkpoint >= letter.sequence:
            raise AppliedElsewhere(letter.id, build.build)
    await dead_letters.revise(conn, build)
