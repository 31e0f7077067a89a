"""Runs a projection's handlers on a batch's events: row changes are merged, failed events become dead letters."""

import gc
from collections.abc import Collection, Iterable, Mapping, Sequence

from contracts.envelope import Envelope, Recorded, open_event
from contracts.envelope import decode as decode_envelope
from contracts.events.event import Event
from projections.engine.apply.batch import Batch, Step
from projections.engine.apply.erasures import ERASES, Erasures
from projections.engine.apply.loop_slices import in_slices
from projections.engine.apply.merging.change_plans import Shapes
from projections.engine.apply.sequential.events import KeyUnknown, unreadable
from projections.engine.apply.sequential.sequential_events import SequentialEvents
from projections.engine.changes import RowChanges
from projections.engine.projection import Projection
from projections.engine.storage.dead_letters import DeadLetter
from projections.engine.storage.tables import Table
from streams.message import Message


class EventHandlers:
    """The handlers of one build."""

    def __init__(self, projection: type[Projection], known_tables: Mapping[str, Table]) -> None:
        """
        Raises:
            BadTables: as `SequentialEvents`.
        """
        sequential = SequentialEvents(projection, known_tables)
        # None: no event is folded or looks up rows.
        self.sequential = sequential if sequential.types else None
        # Of the events that are only merged.
        self._handlers = {} if sequential.has_lookups else projection().handlers()
        self.shapes = Shapes(known_tables, sequential.tables)
        self.erasures = Erasures(projection, known_tables)

    async def run(
        self, batch: Batch, messages: Sequence[Message], blocked: Collection[str], steps: list[Step] | None = None
    ) -> None:
        """Runs the handlers; an event that fails becomes a dead letter, and later ones of its aggregate are parked.

        `blocked`: the subjects and fold keys whose events are parked, beside those of the batch's dead letters.
        `steps` collects the row changes of each event.

        Raises:
            KeyUnknown: the row that an event is folded into cannot be determined.
        """
        lanes = {*blocked, *(letter.lane for letter in batch.letters)}
        async for part in in_slices(messages):
            # A rebuild's objects live until their batch is written, or are freed immediately: garbage collection would
            # find no cycles among them, and would scan the whole program.
            collects = gc.isenabled()
            gc.disable()
            try:
                self._handle(batch, part, lanes, steps)
            finally:
                if collects:
                    gc.enable()

    def _handle(self, batch: Batch, messages: Iterable[Message], blocked: set[str], steps: list[Step] | None) -> None:
        """`blocked`: the subjects and fold keys whose events are parked; those of failed events are added."""
        handlers_of, merge, sequential = self._handlers.get, batch.rows.merge, self.sequential
        erasures, erased = self.erasures, self.erasures.users
        for message in messages:
            kind = "?"
            try:
                envelope = message.opened or decode_envelope(message.payload)
                kind = envelope.type
                handlers = handlers_of(kind)
                if handlers is None:
                    if sequential is not None and kind in sequential.types:
                        batch.take(sequential.take(message, envelope, blocked))
                    continue
                if message.subject in blocked:
                    batch.letters.append(DeadLetter(message=message, type=kind, reason=None))
                    continue
                event = envelope if isinstance(envelope, Recorded) else _open(envelope, message)
                if erased:
                    event = erasures.emptied(event)
                write = RowChanges()
                for handler in handlers:
                    handler(event, write)
                merge(write.changes, kind, event.at)
                if kind == ERASES and erasures.are_kept:
                    erased.add(event.aggregate_id)
                    batch.erased[event.aggregate_id] = None
            except KeyUnknown:
                raise
            except Exception as error:  # an error in one event must not stop the others
                lane = sequential.lane_of_unreadable(message, error) if sequential is not None and kind == "?" else None
                batch.letters.append(unreadable(message, kind, error, blocked, lane))
            else:
                if steps is not None:
                    steps.append(Step(message, kind, write.changes, event.at))


def _open(envelope: Envelope, message: Message) -> Recorded[Event]:
    return open_event(envelope, stream=message.stream, sequence=message.sequence, subject=message.subject)
