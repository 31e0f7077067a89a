"""Folds a batch's events into rows, in the order of the stream; an event that cannot be folded makes its key wait."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from psycopg.pq import TransactionStatus

from contracts.envelope import Envelope, Recorded, open_event
from infra.operator_errors import OperatorError
from projections.engine.apply.change_plans import Key
from projections.engine.apply.folding.fold_rows import FoldRows, Stored
from projections.engine.apply.loop_slices import in_slices
from projections.engine.apply.row_merging import RowGroup
from projections.engine.apply.statements import statement
from projections.engine.folds import Fold, FoldedTable, Row, folded_tables
from projections.engine.projection import Projection
from projections.engine.storage.builds import Connection
from projections.engine.storage.dead_letters import DeadLetter, reason_of
from projections.engine.storage.pg_text import REFUSALS
from projections.engine.storage.tables import Table
from streams.message import Message


class KeyUnknown(OperatorError):
    """The event's row cannot be determined, so neither this event nor later ones can be folded."""

    def __init__(self, projection: str, message: Message, reason: str) -> None:
        super().__init__(
            f"projection {projection}: the row that {message.stream} {message.sequence} belongs to is unknown: {reason}"
        )


class FoldEvent(NamedTuple):
    """An event to fold, and the key of its row."""

    message: Message
    event: Recorded[Any]
    fold: Fold
    key: Key

    @property
    def lane(self) -> str:
        return lane_of(self.fold.table, self.key)

    def letter(self, reason: str | None) -> DeadLetter:
        return DeadLetter(message=self.message, type=self.event.type, reason=reason, fold_key=self.lane)


def key_of_lane(lane: str) -> Key:
    """The key in a lane's text."""
    return tuple(json.loads(lane.partition(" ")[2]))


class Folded(NamedTuple):
    """The rows that follow from a batch's events, as groups to write, and the events that could not be folded."""

    groups: list[RowGroup]
    letters: list[DeadLetter]


def lane_of(table: str, key: Key) -> str:
    """The text that identifies the events of a key, which wait together."""
    return f"{table} {json.dumps(key)}"


class FoldBatches:
    """The folds of one build."""

    def __init__(self, projection: type[Projection], known_tables: Mapping[str, Table]) -> None:
        """
        Raises:
            BadTables: a row type does not fit its table.
        """
        self._projection = projection.name
        self.folds = projection().folds()
        # The tables that only folds write, by name.
        self.tables: dict[str, FoldedTable] = folded_tables(self.folds)
        self._rows = {
            name: FoldRows(projection.name, known_tables[name], table.row) for name, table in self.tables.items()
        }

    def may_fold(self, subject: str) -> bool:
        """Whether an event on the subject may be one that is folded."""
        return any(table.may_fold(subject) for table in self.tables.values())

    def unknown_key(self, message: Message, error: Exception, kind: str = "") -> KeyUnknown:
        return KeyUnknown(self._projection, message, reason_of(error, kind))

    def take(self, message: Message, envelope: Envelope | Recorded[Any], blocked: set[str]) -> FoldEvent | DeadLetter:
        """The event with the key of its row; a dead letter if its key waits or the event cannot be read.

        `blocked`: what waits; the key of an event that cannot be read is added.

        Raises:
            KeyUnknown: the event's row cannot be determined.
        """
        kind = envelope.type
        fold = self.folds[kind]
        rows = self._rows[fold.table]
        key: Key | None = None
        try:
            if fold.aggregate_column is not None:
                key = rows.key({fold.aggregate_column: envelope.aggregate_id})
            event = envelope if isinstance(envelope, Recorded) else _open(envelope, message)
            if key is None:
                assert fold.key is not None
                key = rows.key(fold.key(event))
        except Exception as error:
            if key is None:
                raise self.unknown_key(message, error, kind) from error
            lane = lane_of(fold.table, key)
            reason = None if lane in blocked else reason_of(error, kind)
            blocked.add(lane)
            return DeadLetter(message=message, type=kind, reason=reason, fold_key=lane)
        taken = FoldEvent(message, event, fold, key)
        return taken.letter(None) if blocked and taken.lane in blocked else taken

    async def fold(self, conn: Connection, events: Sequence[FoldEvent]) -> Folded:
        """Loads the rows of the events and folds these into them; nothing is written."""
        # By table and key: the first event that could not be folded, and why.
        stops: dict[tuple[str, Key], tuple[Message, str]] = {}
        while True:
            stored, refused = await self._load(conn, events)
            rows: dict[str, dict[Key, Row | None]] = {name: {} for name in stored}
            failed = await self._fold(events, stored, refused, rows, stops)
            if not failed:
                break
            # Folds may have changed a row in place: each failed key is folded again, up to the event that failed.
            stops |= failed
        groups = [group for name in rows for group in await self.groups(name, rows[name], stored[name])]
        return Folded(groups, _letters(events, stops) if stops else [])

    async def groups(self, table: str, rows: Mapping[Key, Row | None], existing: Iterable[Key]) -> list[RowGroup]:
        """The row groups that write the rows of a table; one that is None is deleted if it exists."""
        return await self._rows[table].groups(rows, existing)

    async def write_in_pieces(self, conn: Connection, events: Sequence[FoldEvent], letters: list[DeadLetter]) -> None:
        """Finds the events whose rows PostgreSQL refuses by bisection, and writes the rows of all others.

        Runs in the caller's transaction; `letters` gets the events that wait.
        """
        blocked: set[str] = set()
        pending = [events]
        while pending:
            piece: list[FoldEvent] = []
            for event in pending.pop():
                if event.lane in blocked:
                    letters.append(event.letter(None))
                else:
                    piece.append(event)
            if not piece:
                continue
            folded = await self.fold(conn, piece)
            refusal = await _try(conn, folded.groups)
            if refusal is None:
                letters += folded.letters
                blocked.update(letter.lane for letter in folded.letters)
            elif len(piece) == 1:
                letters.append(piece[0].letter(reason_of(refusal, piece[0].event.type)))
                blocked.add(piece[0].lane)
            else:
                half = len(piece) // 2
                pending += [piece[half:], piece[:half]]

    async def _load(
        self, conn: Connection, events: Iterable[FoldEvent]
    ) -> tuple[dict[str, dict[Key, Stored]], dict[tuple[str, Key], Exception]]:
        """The rows that exist, and the keys that PostgreSQL refuses, with its error."""
        keys: dict[str, dict[Key, None]] = {}
        async for part in in_slices(events):
            for event in part:
                of_table = keys.get(event.fold.table)
                if of_table is None:
                    of_table = keys[event.fold.table] = {}
                of_table[event.key] = None
        stored: dict[str, dict[Key, Stored]] = {}
        refused: dict[tuple[str, Key], Exception] = {}
        for name, wanted in keys.items():
            stored[name] = {}
            pending = [list(wanted)]
            while pending:
                piece = pending.pop()
                try:
                    # A refusal must leave the caller's transaction usable.
                    idle = conn.info.transaction_status is TransactionStatus.IDLE
                    async with nullcontext() if idle else conn.transaction():
                        stored[name] |= await self._rows[name].load(conn, piece)
                except REFUSALS as refusal:
                    if len(piece) == 1:
                        refused[name, piece[0]] = refusal
                    else:
                        pending += [piece[: len(piece) // 2], piece[len(piece) // 2 :]]
        return stored, refused

    async def _fold(
        self,
        events: Sequence[FoldEvent],
        stored: Mapping[str, Mapping[Key, Stored]],
        refused: Mapping[tuple[str, Key], Exception],
        rows: Mapping[str, dict[Key, Row | None]],
        stops: Mapping[tuple[str, Key], tuple[Message, str]],
    ) -> dict[tuple[str, Key], tuple[Message, str]]:
        """Folds into `rows` all events before the stops; returns the first failure of each key that fails."""
        failed: dict[tuple[str, Key], tuple[Message, str]] = {}
        over: set[tuple[str, Key]] = set()
        async for part in in_slices(events):
            for message, event, fold, key in part:
                name = fold.table
                if stops or failed:
                    lane = name, key
                    if lane in failed or lane in over:
                        continue
                    if lane in stops and stops[lane][0] is message:
                        over.add(lane)
                        continue
                of_table = rows[name]
                try:
                    if key in of_table:
                        row = of_table[key]
                    else:
                        before = stored[name].get(key)
                        if refused and (name, key) in refused:
                            raise refused[name, key]
                        row = None if before is None else self._rows[name].row(before)
                    of_table[key] = fold.apply(row, event)
                except Exception as error:  # an error in one key must not stop the others
                    failed[name, key] = message, reason_of(error, event.type)
        return failed


def _letters(events: Iterable[FoldEvent], stops: Mapping[tuple[str, Key], tuple[Message, str]]) -> list[DeadLetter]:
    """The first failed event of each stopped key, and the later ones, parked."""
    letters: list[DeadLetter] = []
    over: set[tuple[str, Key]] = set()
    for event in events:
        lane = event.fold.table, event.key
        if lane in over:
            letters.append(event.letter(None))
        elif lane in stops and stops[lane][0] is event.message:
            letters.append(event.letter(stops[lane][1]))
            over.add(lane)
    return letters


async def _try(conn: Connection, groups: Iterable[RowGroup]) -> Exception | None:
    """Writes all groups, or none; returns the refusal, if any."""
    try:
        async with conn.transaction():
            for group in groups:
                await conn.execute(*statement(group))
    except REFUSALS as refusal:
        return refusal
    return None


def _open(envelope: Envelope, message: Message) -> Recorded[Any]:
    return open_event(envelope, stream=message.stream, sequence=message.sequence, subject=message.subject)
