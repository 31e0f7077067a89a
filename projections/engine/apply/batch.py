"""A batch: events of a projection's streams, merged into row changes but not written yet."""

from datetime import datetime
from typing import NamedTuple

from projections.engine.apply.merging.row_merging import MergedRows, RowGroup
from projections.engine.apply.sequential.events import SequentialEvent
from projections.engine.changes import Change
from projections.engine.storage.dead_letters import DeadLetter
from streams.loss.missing_events import Gap
from streams.message import Message


class Step(NamedTuple):
    """One event and its row changes."""

    message: Message
    type: str
    changes: list[Change]
    # The time of the event.
    at: datetime


class Batch:
    def __init__(self, rows: MergedRows, knowledge: int) -> None:
        # The checkpoints before and after the batch, by stream.
        self.before: dict[str, int] = {}
        self.after: dict[str, int] = {}
        self.messages: dict[str, list[Message]] = {}
        # Sequences in which the streams have no event.
        self.gaps: list[Gap] = []
        self.events = 0
        self.bytes = 0
        # Number of reads it consists of; an empty read is a heartbeat.
        self.reads = 0
        # Duration of the write.
        self.seconds = 0.0
        # The writer's revision of the events to skip or park that the row changes follow; None: the handlers have not
        # run for all events.
        self.knowledge: int | None = knowledge
        self.rows = rows
        # The events to apply one after the other, and the rows that follow once the previous batch was written.
        self.sequential: list[SequentialEvent] = []
        self.applied: list[RowGroup] = []
        self.letters: list[DeadLetter] = []
        # Users whose erasure is among the events; a dict as a set that keeps the order.
        self.erased: dict[str, None] = {}

    def take(self, event: SequentialEvent | DeadLetter) -> None:
        """Adds an event to apply after those before it, or one that waits."""
        if isinstance(event, DeadLetter):
            self.letters.append(event)
        else:
            self.sequential.append(event)

    def begin_again(self, rows: MergedRows) -> None:
        """Discards the row changes and dead letters, and keeps the events."""
        self.knowledge = None
        self.rows = rows
        self.sequential, self.applied = [], []
        self.letters = []
        self.erased = {}

    def move(self, stream: str, before: int, after: int, messages: list[Message]) -> None:
        self.before.setdefault(stream, before)
        self.after[stream] = after
        self.messages.setdefault(stream, []).extend(messages)
        self.events += len(messages)
        self.bytes += sum([len(message.payload) for message in messages])

    @property
    def moves(self) -> bool:
        """Whether there is something to write, at least a checkpoint."""
        return bool(self.after)
