"""Stored dead letters: events that could not be applied, events of the same aggregate parked behind them, discards.

Dead letters belong to a build and are deleted with it: another build reads the same events again. A discard belongs to
the version and is kept (`discards.py`): every build of the version skips the event, including the shadow of a
verification.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

import msgspec
from psycopg import Error as DatabaseError
from psycopg import IntegrityError

from contracts import catalogue
from projections.engine.storage.builds import Build, Connection
from projections.engine.storage.pg_text import array
from streams.message import Message
from streams.personal_data.fields import fields_of

# Stream and sequence of the events to skip.
Discards = frozenset[tuple[str, int]]

_LONGEST_REASON = 2_000
_ADD = """
INSERT INTO projection_dead_letters
    (projection, version, build, stream, sequence, subject, type, state, reason, fold_key, attempts)
SELECT %s, %s, %s, *, CASE state WHEN 'failed' THEN 1 ELSE 0 END
FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
    AS u (stream, sequence, subject, type, state, reason, fold_key)
"""
_IN_USE = "(b.projection, b.version, b.build) = (%s, %s, %s) AND b.state = %s AND b.identity = %s"
_REVISION = f"SELECT b.letters_revision FROM projection_builds AS b WHERE {_IN_USE}"  # noqa: S608
_STANDING = f"""
SELECT b.letters_revision,
    ARRAY(SELECT DISTINCT coalesce(l.fold_key, l.subject) FROM projection_dead_letters AS l
          WHERE (l.projection, l.version, l.build) = (b.projection, b.version, b.build)),
    (SELECT count(*) FROM projection_dead_letters AS l
     WHERE (l.projection, l.version, l.build) = (b.projection, b.version, b.build) AND l.state = 'failed'),
    (SELECT count(*) FROM projection_dead_letters AS l
     WHERE (l.projection, l.version, l.build) = (b.projection, b.version, b.build) AND l.state = 'parked'),
    ARRAY(SELECT d.stream || ' ' || d.sequence FROM projection_discards AS d
          WHERE (d.projection, d.version) = (b.projection, b.version))
FROM projection_builds AS b WHERE {_IN_USE}
"""  # noqa: S608
_DELETE = """
DELETE FROM projection_dead_letters
WHERE (projection, version, build, stream) = (%s, %s, %s, %s) AND sequence = ANY(%s)
RETURNING coalesce(fold_key, subject)
"""
_INTERRUPTED = "not retried yet: the previous one was resolved, and its retry was interrupted"
_NEXT_HEAD = """
UPDATE projection_dead_letters SET state = 'failed', reason = %s, attempts = 0
WHERE (projection, version, build, stream, sequence) = (
    SELECT projection, version, build, stream, min(sequence) FROM projection_dead_letters
    WHERE (projection, version, build, stream, md5(coalesce(fold_key, subject))) = (%s, %s, %s, %s, md5(%s))
    GROUP BY projection, version, build, stream
) AND state = 'parked'
"""
_REVISE = (
    "UPDATE projection_builds SET letters_revision = letters_revision + 1"
    " WHERE (projection, version, build) = (%s, %s, %s)"
)
_WAITING = "SELECT stream, sequence FROM projection_dead_letters WHERE (projection, version, build) = (%s, %s, %s)"
_DISCARDS = "SELECT stream, sequence FROM projection_discards WHERE (projection, version) = (%s, %s)"


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    message: Message
    type: str
    # None: it is parked behind another one.
    reason: str | None
    # The table and key of the row that it is folded into; None: it is not folded.
    fold_key: str | None = None

    @property
    def lane(self) -> str:
        """The events that wait behind it: those of its row, or else of its aggregate."""
        return self.message.subject if self.fold_key is None else self.fold_key


class Counts(NamedTuple):
    # Events that could not be applied; one per lane.
    failed: int = 0
    # Events that wait behind one of those.
    parked: int = 0


class DeadLetterState(msgspec.Struct):
    """The dead letters and discards as a build's writer needs them, at one revision."""

    # None: the build is not in use.
    revision: int | None = None
    # Subjects and fold keys with dead letters, whose events are parked.
    blocked: set[str] = msgspec.field(default_factory=set)
    counts: Counts = Counts()
    discards: Discards = frozenset()

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Adds dead letters that the writer has stored."""
        if letters:
            failed = sum(letter.reason is not None for letter in letters)
            self.counts = Counts(self.counts.failed + failed, self.counts.parked + len(letters) - failed)
            self.blocked.update(letter.lane for letter in letters)


class LetterId(NamedTuple):
    """The id of a dead letter, for operators: `conversations.v1.b2.MESSAGING.17`."""

    projection: str
    version: int
    build: int
    stream: str
    sequence: int

    def __str__(self) -> str:
        return f"{self.projection}.v{self.version}.b{self.build}.{self.stream}.{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Raises:
            ValueError: the text is not the id of a dead letter.
        """
        parts = text.split(".")
        if len(parts) != len(cls._fields):
            raise ValueError(text)
        projection, version, build, stream, sequence = parts
        if not (version[:1] == "v" and build[:1] == "b" and projection and stream):
            raise ValueError(text)
        return cls(projection, int(version[1:]), int(build[1:]), stream, int(sequence))


def aggregate_of(subject: str) -> str:
    """The aggregate's id: the rest of its subject after `vestnik.<service>.<kind>.`"""
    return subject.split(".", 3)[-1]


def reason_of(error: Exception, kind: str = "") -> str:
    """The error as text, with the NUL characters and lone surrogates escaped that PostgreSQL would refuse.

    PostgreSQL's details are left out, since they contain the whole refused row. The error of an event
    (`kind`: its type) that is private or has personal data may contain that data, and is recorded where nothing is
    erased. So its text has little more than the error's class, unless it is known to quote no value: a violated
    constraint, an unknown schema.
    """
    name, text = type(error).__name__, str(error)
    if isinstance(error, DatabaseError):
        text = error.diag.message_primary or text.partition("\n")[0]
    if (is_private(kind) or _has_personal_data(kind)) and not _quotes_no_value(error):
        text = "details withheld: the event may contain personal data"
    reason = f"{name}: {text}".replace("\x00", "\\0").strip()[:_LONGEST_REASON]
    return reason.encode(errors="backslashreplace").decode()


def is_private(kind: str) -> bool:
    """Whether the data of an event of this type are for its owner only."""
    event = catalogue.EVENTS.get(kind)
    return event is not None and event.PRIVATE


def _has_personal_data(kind: str) -> bool:
    event = catalogue.EVENTS.get(kind)
    return event is not None and bool(fields_of(event))


def _quotes_no_value(error: Exception) -> bool:
    # A missing key or index is an error of the handler, and its text is what was looked up.
    is_of_catalogue = isinstance(error, LookupError) and not isinstance(error, KeyError | IndexError)
    return is_of_catalogue or isinstance(error, IntegrityError)


def keep_first_reason(letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """The dead letters in the order of their events; the first of an aggregate or row failed, all others are parked."""
    seen: set[str] = set()
    ordered: list[DeadLetter] = []
    for letter in sorted(letters, key=lambda letter: letter.message.sequence):
        ordered.append(msgspec.structs.replace(letter, reason=None) if letter.lane in seen else letter)
        seen.add(letter.lane)
    return ordered


async def add(conn: Connection, build: Build, letters: Sequence[DeadLetter]) -> None:
    if not letters:
        return
    await conn.execute(
        _ADD,
        (
            *build.id,
            array([letter.message.stream for letter in letters]),
            array([str(letter.message.sequence) for letter in letters]),
            array([letter.message.subject for letter in letters]),
            array([letter.type for letter in letters]),
            array(["parked" if letter.reason is None else "failed" for letter in letters]),
            array([letter.reason or "" for letter in letters]),
            array([letter.fold_key for letter in letters]),
        ),
    )


async def remove(conn: Connection, build: Build, stream: str, sequences: Sequence[int]) -> list[str]:
    """Deletes dead letters; returns the lane of each that existed."""
    cursor = await conn.execute(_DELETE, (*build.id, stream, list(sequences)))
    return [str(lane) for (lane,) in await cursor.fetchall()]


async def promote(conn: Connection, build: Build, stream: str, lane: str) -> None:
    """Marks the first dead letter of an aggregate or row as failed if it was parked."""
    await conn.execute(_NEXT_HEAD, (_INTERRUPTED, *build.id, stream, lane))


async def revise(conn: Connection, build: Build) -> None:
    """Increments the revision of the build's dead letters, so that its writer reloads them."""
    await conn.execute(_REVISE, build.id)


async def leave_out(conn: Connection, build: Build, stream: str, sequence: int) -> bool:
    """Removes a discarded event from the build's dead letters; returns whether it was one."""
    lanes = await remove(conn, build, stream, [sequence])
    for lane in lanes:
        await promote(conn, build, stream, lane)
    return bool(lanes)


async def revision(conn: Connection, build: Build) -> int | None:
    """The revision of the build's dead letters, which changes when one is resolved; None: the build is not in use."""
    cursor = await conn.execute(_REVISION, (*build.id, build.state.value, build.identity))
    row = await cursor.fetchone()
    return None if row is None else _whole(row[0])


async def load_state(conn: Connection, build: Build) -> DeadLetterState:
    cursor = await conn.execute(_STANDING, (*build.id, build.state.value, build.identity))
    row = await cursor.fetchone()
    if row is None:
        return DeadLetterState()
    number, blocked, failed, parked, discards = row
    assert isinstance(blocked, list)
    assert isinstance(discards, list)
    return DeadLetterState(
        revision=_whole(number),
        blocked=set(blocked),
        counts=Counts(_whole(failed), _whole(parked)),
        discards=frozenset(
            (stream, int(sequence)) for stream, _, sequence in (discard.partition(" ") for discard in discards)
        ),
    )


async def discards(conn: Connection, projection: str, version: int) -> Discards:
    """The events that every build of the version skips."""
    cursor = await conn.execute(_DISCARDS, (projection, version))
    return frozenset((str(stream), _whole(sequence)) for stream, sequence in await cursor.fetchall())


async def waiting(conn: Connection, build: Build) -> Discards:
    """The events that are dead letters of the build."""
    cursor = await conn.execute(_WAITING, build.id)
    return frozenset((str(stream), _whole(sequence)) for stream, sequence in await cursor.fetchall())


def _whole(value: object) -> int:
    assert isinstance(value, int)
    return value
