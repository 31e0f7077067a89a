"""Events of any of a projection's streams, folded into rows but not written yet."""

from typing import NamedTuple

from projections.engine.apply.row_merging import MergedRows
from projections.engine.changes import Change
from projections.engine.storage.dead_letters import DeadLetter
from streams.loss.missing_events import Gap
from streams.message import Message


class Step(NamedTuple):
    """One event and what it does."""

    message: Message
    type: str
    changes: list[Change]


class Batch:
    def __init__(self, rows: MergedRows, knowledge: int) -> None:
        # Each stream's checkpoint before and after.
        self.before: dict[str, int] = {}
        self.after: dict[str, int] = {}
        self.messages: dict[str, list[Message]] = {}
        # Sequences in which the streams have no event.
        self.gaps: list[Gap] = []
        self.events = 0
        self.bytes = 0
        # How many pieces of streams it is made of; those that bring nothing are signs of life.
        self.reads = 0
        # How long it took to write.
        self.seconds = 0.0
        self.begin_anew(rows, knowledge)

    def begin_anew(self, rows: MergedRows, knowledge: int) -> None:
        """Forgets what the events do, not which they are.

        `knowledge`: of events to leave out, as its writer counts it.
        """
        self.rows = rows
        self.knowledge = knowledge
        self.letters: list[DeadLetter] = []

    def move(self, stream: str, before: int, after: int, messages: list[Message]) -> None:
        self.before.setdefault(stream, before)
        self.after[stream] = after
        self.messages.setdefault(stream, []).extend(messages)
        self.events += len(messages)
        self.bytes += sum([len(message.payload) for message in messages])

    @property
    def moves(self) -> bool:
        """Whether anything is to be written, if only a checkpoint."""
        return bool(self.after)
