"""Runs chosen events for chosen rows only, in memory, and then writes the result in place of the rows."""

from collections.abc import Sequence

import msgspec

from infra.operator_errors import OperatorError
from projections.engine.apply.erasures import owners_of
from projections.engine.apply.loop_slices import in_slices
from projections.engine.apply.merging.call_plans import Key
from projections.engine.apply.merging.row_merging import MergedRows, RowGroup
from projections.engine.apply.sequential.events import FoldEvent
from projections.engine.apply.writing.statements import statement
from projections.engine.changes import RowAction
from projections.engine.folds import Row
from projections.engine.rebuild.changed_rows import ChangedRows, RowId
from projections.engine.storage.builds import Connection
from projections.engine.storage.dead_letters import DeadLetter, reason_of
from streams.message import Message


class CannotApply(OperatorError):
    """The current code does not apply an event that was applied before."""

    def __init__(self, message: Message, reason: str) -> None:
        super().__init__(f"{message.stream} {message.sequence} cannot be applied: {reason}; nothing was changed")


class RowReplacement:
    """What events make of the rows, which are absent before the first event."""

    def __init__(self, changed: ChangedRows, rows: set[RowId]) -> None:
        self._changed = changed
        self._rows = rows
        self._merged = MergedRows(changed.shapes)
        # By table.
        self._folded: dict[str, dict[Key, Row | None]] = {}
        # That were added.
        self.events = 0
        # The users whose texts may be in the rows; folded ones have none.
        self.owners: set[str] = set()

    async def add(self, messages: Sequence[Message]) -> None:
        """Applies events, in their order.

        Raises:
            CannotApply: the current code does not apply one of them.
        """
        async for part in in_slices(messages):
            for message in part:
                try:
                    self._apply(message)
                except Exception as error:
                    raise CannotApply(message, reason_of(error, _type_of(message))) from error
        self.events += len(messages)

    async def write(self, conn: Connection) -> None:
        """Deletes the rows that exist and writes the new ones, in the caller's transaction.

        Raises:
            psycopg.Error: PostgreSQL refuses a row.
        """
        groups = self._deletions() + self._merged.groups()
        for name, rows in self._folded.items():
            groups += await self._changed.sequential.groups(name, rows, existing=())
        for group in groups:
            await conn.execute(*statement(group))

    def _deletions(self) -> list[RowGroup]:
        of_table: dict[str, list[Key]] = {}
        for table, key in self._rows:
            of_table.setdefault(table, []).append(key)
        changed = self._changed
        return [
            RowGroup(changed.shapes.shape(changed.tables[table], RowAction.DELETE), keys, [()] * len(keys))
            for table, keys in of_table.items()
        ]

    def _apply(self, message: Message) -> None:
        envelope, changed = message.opened or message.envelope(), self._changed
        if envelope.type in changed.sequential.folds:
            taken = changed.sequential.take(message, envelope, set())
            if isinstance(taken, DeadLetter):
                raise ValueError(taken.reason)
            if isinstance(taken, FoldEvent) and (taken.fold.table, taken.key) in self._rows:
                rows = self._folded.setdefault(taken.fold.table, {})
                rows[taken.key] = taken.fold.apply(rows.get(taken.key), taken.event)
        elif envelope.type in changed.handlers:
            event, changes = changed.changes(message)
            chosen = [change for change in changes if changed.row_of(change) in self._rows]
            self._merged.merge(chosen, event.type, event.at)
            if chosen:
                self.owners |= owners_of(event)


def _type_of(message: Message) -> str:
    """The type of the message's event; empty if it is no event."""
    try:
        return message.envelope().type
    except msgspec.DecodeError:
        return ""
