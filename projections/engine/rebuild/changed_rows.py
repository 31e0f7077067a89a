"""Determines which rows an event changes."""

from collections.abc import Mapping
from datetime import datetime

from contracts.envelope import Recorded
from contracts.events.event import Event
from projections.engine.apply.merging.call_plans import Key
from projections.engine.apply.merging.change_plans import Shapes
from projections.engine.apply.sequential.events import FoldEvent, KeyUnknown
from projections.engine.apply.sequential.keys import key_of
from projections.engine.apply.sequential.sequential_events import SequentialEvents
from projections.engine.changes import Change, RowAction, RowChanges
from projections.engine.projection import Projection
from projections.engine.storage.pg_text import MOMENTS, UnsupportedValue
from projections.engine.storage.tables import Table
from streams.message import Message

# The name of a table, and the key of a row in it.
RowId = tuple[str, Key]


class DeletesByPart(Exception):
    """An event deletes rows by a part of their key, so that no key says which rows it changes."""


class ChangedRows:
    """The rows that a projection's events change. It looks up no rows."""

    def __init__(self, projection: type[Projection], known_tables: Mapping[str, Table]) -> None:
        self.tables = known_tables
        self.handlers = projection().handlers()
        self.sequential = SequentialEvents(projection, known_tables)
        self.shapes = Shapes(known_tables, self.sequential.tables)
        # The types of its events.
        self.types = self.handlers.keys() | self.sequential.folds.keys()

    @property
    def looks_up_rows(self) -> bool:
        return self.sequential.has_lookups

    @property
    def folded_tables(self) -> tuple[str, ...]:
        return tuple(self.sequential.tables)

    def folded_row(self, text: str) -> RowId | None:
        """The row that `TABLE:VALUE,VALUE` names, with the values of the primary key; None: the text has another form.

        Raises:
            UnsupportedValue: the values are not a key of the table.
        """
        name, separator, values = text.partition(":")
        if not separator or name not in self.sequential.tables:
            return None
        table = self.tables[name]
        parts = values.split(",", len(table.key) - 1)
        key = {column: _typed(part, table.types[column]) for column, part in zip(table.key, parts, strict=False)}
        return name, key_of(table, table.key, key)

    def of(self, message: Message) -> set[RowId]:
        """The rows that the event changes; none if the current code cannot apply it, as a dead letter changes none.

        Raises:
            DeletesByPart: it does.
            KeyUnknown: the row that it is folded into cannot be determined.
        """
        try:
            envelope = message.opened or message.envelope()
            if envelope.type in self.sequential.folds:
                taken = self.sequential.take(message, envelope, set())
                return {(taken.fold.table, taken.key)} if isinstance(taken, FoldEvent) else set()
            if envelope.type not in self.handlers:
                return set()
            return set(map(self.row_of, self.changes(message)[1]))
        except (DeletesByPart, KeyUnknown):
            raise
        except Exception:
            return set()

    def changes(self, message: Message) -> tuple[Recorded[Event], list[Change]]:
        """The event, and what its handlers change.

        Raises: what they raise.
        """
        event, write = message.open(), RowChanges()
        for handler in self.handlers[event.type]:
            handler(event, write)
        return event, write.changes

    def row_of(self, change: Change) -> RowId:
        """
        Raises:
            DeletesByPart: the change is of no single row.
        """
        action, table, values = change[:3]
        if action is RowAction.DELETE_ALL:
            raise DeletesByPart
        known = self.tables[table]
        return table, key_of(known, known.key, values)


def _typed(text: str, kind: str) -> object:
    """The value of a key's column as an operator writes it, or copies it from `vestnik rows` or `vestnik verify`.

    Raises:
        UnsupportedValue: it is not one of the type.
    """
    if kind == MOMENTS:
        try:
            return datetime.fromisoformat(text)
        except ValueError as error:
            raise UnsupportedValue(f"{text!r} is not a time") from error
    return text.lower() if kind == "boolean" else text
