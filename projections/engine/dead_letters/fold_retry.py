"""Folds one row again from the stream, up to its first dead letter; the dead letters are then retried onto that row.

So the row also heals from what an earlier state of the code has made of it.
"""

from collections.abc import Iterable

import msgspec

from contracts.subjects import passes
from infra.operator_errors import OperatorError
from projections.engine.apply.merging.row_merging import RowGroup
from projections.engine.apply.sequential.events import FoldEvent, SequentialEvent, key_of_lane
from projections.engine.apply.sequential.sequential_events import SequentialEvents
from projections.engine.dead_letters.queries import DeadLetterRow
from projections.engine.folds import Row
from projections.engine.lookups import lookups_of
from projections.engine.projection import Projection
from projections.engine.storage.dead_letters import DeadLetter, Discards, reason_of
from projections.engine.storage.tables import Table
from streams.log import Log
from streams.message import Message

# Events read at once.
_PAGE = 2_000


class CannotFoldAgain(OperatorError):
    """The current code does not fold an event that was applied before."""

    def __init__(self, letter: DeadLetterRow, reason: str) -> None:
        super().__init__(f"the row of {letter.id} cannot be folded again: {reason}; raise the projection's version")


class RowFromStream:
    """The row that a dead letter is folded into."""

    def __init__(
        self, projection: type[Projection], known_tables: dict[str, Table], letter: DeadLetterRow, fold_key: str
    ) -> None:
        """
        Raises:
            CannotFoldAgain: the projection no longer folds such events.
        """
        self._sequential = SequentialEvents(projection, known_tables)
        name = fold_key.partition(" ")[0]
        table = self._sequential.tables.get(name)
        if table is None:
            raise CannotFoldAgain(letter, f"no events are folded into {name} any more")
        if letter.type not in self._sequential.folds and letter.type != "?":
            raise CannotFoldAgain(letter, f"{letter.type} is not folded any more")
        self._letter = letter
        self._fold_key = fold_key
        self._table = name
        self._filter = projection.filters()[letter.stream]
        # The subjects of all of the row's events, as one pattern.
        self.subjects = table.subjects_of(letter.aggregate_id)

    async def before(self, log: Log, begin: int, sequence: int, discards: Discards) -> list[RowGroup]:
        """Folds the row's events between the two sequences; returns the row groups that write the row.

        A row whose folds look up other rows is left as it is, since those rows are no longer what they were.

        Raises:
            CannotFoldAgain: one of the events cannot be folded.
            KeyUnknown: an event's row cannot be determined.
            Unavailable: the stream cannot be read.
        """
        if any(lookups_of(fold.method) for fold in self._sequential.folds.values() if fold.table == self._table):
            return []
        row: Row | None = None
        after = begin
        while page := await log.read(self.subjects, after=after, limit=_PAGE):
            for message in page:
                if message.sequence >= sequence:
                    break
                event = self._own(message) if (message.stream, message.sequence) not in discards else None
                if event is not None:
                    row = self._next(row, event)
            after = page[-1].sequence
            if after >= sequence - 1:
                break
        key = key_of_lane(self._fold_key)
        return await self._sequential.groups(self._table, {key: row}, existing=[key])

    def check(self, messages: Iterable[Message]) -> None:
        """
        Raises:
            CannotFoldAgain: one of the dead letters is folded into another row by the current code.
            KeyUnknown: an event's row cannot be determined.
        """
        for message in messages:
            taken = self._take(message)
            if taken is not None and taken.lane != self._fold_key:
                reason = f"{message.stream} {message.sequence} is folded into another row now"
                raise CannotFoldAgain(self._letter, reason)

    def _own(self, message: Message) -> FoldEvent | None:
        """The event if it is folded into the row."""
        if self._filter is not None and not passes(message.subject, self._filter):
            return None
        taken = self._take(message)
        if taken is None or taken.lane != self._fold_key:
            return None
        if isinstance(taken, DeadLetter):
            raise CannotFoldAgain(self._letter, f"{message.stream} {message.sequence}: {taken.reason}")
        assert isinstance(taken, FoldEvent)
        return taken

    def _take(self, message: Message) -> SequentialEvent | DeadLetter | None:
        """The event with its row; None: it is not folded, or it is not readable, which makes it a dead letter again."""
        try:
            envelope = message.opened or message.envelope()
        except msgspec.DecodeError:
            return None
        return self._sequential.take(message, envelope, set()) if envelope.type in self._sequential.folds else None

    def _next(self, row: Row | None, event: FoldEvent) -> Row | None:
        try:
            return event.fold.apply(row, event.event)
        except Exception as error:
            reason = f"{event.message.stream} {event.message.sequence}: {reason_of(error, event.event.type)}"
            raise CannotFoldAgain(self._letter, reason) from error
