"""Determines which rows an event changes, and runs chosen events again for chosen rows only."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from contracts.envelope import Recorded
from contracts.events.event import Event
from infra.operator_errors import OperatorError
from projections.engine.apply.change_plans import Key, Shapes
from projections.engine.apply.loop_slices import in_slices
from projections.engine.apply.row_merging import MergedRows, RowGroup
from projections.engine.apply.sequential.events import FoldEvent, KeyUnknown
from projections.engine.apply.sequential.keys import key_of
from projections.engine.apply.sequential.sequential_events import SequentialEvents
from projections.engine.apply.statements import statement
from projections.engine.changes import Change, RowAction, RowChanges
from projections.engine.projection import Projection
from projections.engine.storage.builds import Connection
from projections.engine.storage.dead_letters import DeadLetter, reason_of
from projections.engine.storage.tables import Table
from streams.message import Message

# The name of a table, and the key of a row in it.
RowId = tuple[str, Key]


class DeletesByPart(Exception):
    """An event deletes rows by a part of their key, so that no key says which rows it changes."""


class CannotApply(OperatorError):
    """The current code does not apply an event that was applied before."""

    def __init__(self, message: Message, reason: str) -> None:
        super().__init__(f"{message.stream} {message.sequence} cannot be applied: {reason}; nothing was changed")


class ChangedRows:
    """The rows that a projection's events change. It looks up no rows."""

    def __init__(self, projection: type[Projection], known_tables: Mapping[str, Table]) -> None:
        self._tables = known_tables
        self._handlers = projection().handlers()
        self._sequential = SequentialEvents(projection, known_tables)
        self._shapes = Shapes(known_tables, self._sequential.tables)
        # The types of its events.
        self.types = self._handlers.keys() | self._sequential.folds.keys()

    @property
    def looks_up_rows(self) -> bool:
        return self._sequential.has_lookups

    @property
    def folded_tables(self) -> tuple[str, ...]:
        return tuple(self._sequential.tables)

    def folded_row(self, text: str) -> RowId | None:
        """The row that `TABLE:VALUE,VALUE` names, with the values of the primary key; None: the text has another form.

        Raises:
            UnsupportedValue: the values are not a key of the table.
        """
        name, separator, values = text.partition(":")
        if not separator or name not in self._sequential.tables:
            return None
        table = self._tables[name]
        parts = values.split(",", len(table.key) - 1)
        return name, key_of(table, table.key, dict(zip(table.key, parts, strict=False)))

    def of(self, message: Message) -> set[RowId]:
        """The rows that the event changes; none if the current code cannot apply it, as a dead letter changes none.

        Raises:
            DeletesByPart: it does.
            KeyUnknown: the row that it is folded into cannot be determined.
        """
        try:
            envelope = message.opened or message.envelope()
            if envelope.type in self._sequential.folds:
                taken = self._sequential.take(message, envelope, set())
                return {(taken.fold.table, taken.key)} if isinstance(taken, FoldEvent) else set()
            if envelope.type not in self._handlers:
                return set()
            return set(map(self._row_of, self._changes(message)[1]))
        except (DeletesByPart, KeyUnknown):
            raise
        except Exception:
            return set()

    async def apply(self, conn: Connection, messages: Sequence[Message], rows: set[RowId]) -> None:
        """Applies the events to these rows, in the caller's transaction.

        Raises:
            CannotApply: the current code does not apply one of them.
            psycopg.Error: PostgreSQL refuses a row.
        """
        merged = MergedRows(self._shapes)
        folded: list[FoldEvent] = []
        async for part in in_slices(messages):
            for message in part:
                try:
                    self._merge(message, rows, merged, folded)
                except Exception as error:
                    raise CannotApply(message, reason_of(error, _type_of(message))) from error
        groups = merged.groups()
        if folded:
            applied = await self._sequential.apply(conn, folded)
            if applied.letters:
                letter = applied.letters[0]
                raise CannotApply(letter.message, letter.reason or "")
            groups += applied.groups
        for group in groups:
            await conn.execute(*statement(group))

    async def delete(self, conn: Connection, rows: Iterable[RowId]) -> None:
        """Deletes those of the rows that exist."""
        of_table: dict[str, list[Key]] = {}
        for table, key in rows:
            of_table.setdefault(table, []).append(key)
        for table, keys in of_table.items():
            shape = self._shapes.shape(self._tables[table], RowAction.DELETE)
            await conn.execute(*statement(RowGroup(shape, keys, [()] * len(keys))))

    def _merge(self, message: Message, rows: set[RowId], merged: MergedRows, folded: list[FoldEvent]) -> None:
        envelope = message.opened or message.envelope()
        if envelope.type in self._sequential.folds:
            taken = self._sequential.take(message, envelope, set())
            if isinstance(taken, DeadLetter):
                raise ValueError(taken.reason)
            if isinstance(taken, FoldEvent) and (taken.fold.table, taken.key) in rows:
                folded.append(taken)
            return
        if envelope.type in self._handlers:
            event, changes = self._changes(message)
            merged.merge([change for change in changes if self._row_of(change) in rows], event.type, event.at)

    def _changes(self, message: Message) -> tuple[Recorded[Event], list[Change]]:
        event, write = message.open(), RowChanges()
        for handler in self._handlers[event.type]:
            handler(event, write)
        return event, write.changes

    def _row_of(self, change: Change) -> RowId:
        action, table, values = change[:3]
        if action is RowAction.DELETE_ALL:
            raise DeletesByPart
        known = self._tables[table]
        return table, key_of(known, known.key, values)


def _type_of(message: Message) -> str:
    """The type of the message's event; empty if it is no event."""
    try:
        return message.envelope().type
    except msgspec.DecodeError:
        return ""
