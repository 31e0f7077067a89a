"""Events that are applied one after the other to rows that are loaded first, and what waits together."""

import json
from typing import Any, NamedTuple

from contracts.envelope import Envelope, Recorded, open_event
from infra.operator_errors import OperatorError
from projections.engine.apply.merging.call_plans import Key
from projections.engine.apply.sequential.looked_up_rows import EventLookup
from projections.engine.folds import Fold
from projections.engine.projection import Handler
from projections.engine.storage.dead_letters import DeadLetter, reason_of
from streams.message import Message

# What waits together: the table and key of a folded row, or the subject of a handled event.
Unit = tuple[str, Key] | str
# The first event of a unit that failed, and why.
Stop = tuple[Message, str]


class KeyUnknown(OperatorError):
    """The event's row cannot be determined, so neither this event nor later ones can be folded."""

    def __init__(self, projection: str, message: Message, reason: str, event_type: str = "?") -> None:
        self.message = message
        self.reason = reason
        self.event_type = event_type
        super().__init__(
            f"projection {projection}: the row that {message.stream} {message.sequence} belongs to is unknown: {reason}"
        )


class FoldEvent(NamedTuple):
    """An event to fold, and the key of its row."""

    message: Message
    event: Recorded[Any]
    fold: Fold
    key: Key
    lookups: tuple[EventLookup, ...]

    @property
    def unit(self) -> Unit:
        return self.fold.table, self.key

    @property
    def lane(self) -> str:
        return lane_of(self.fold.table, self.key)

    def letter(self, reason: str | None) -> DeadLetter:
        return DeadLetter(message=self.message, type=self.event.type, reason=reason, fold_key=self.lane)


class HandledEvent(NamedTuple):
    """An event for handlers of a projection with lookups, each with what it looks up."""

    message: Message
    event: Recorded[Any]
    handlers: tuple[tuple[Handler, tuple[EventLookup, ...]], ...]

    @property
    def unit(self) -> Unit:
        return self.message.subject

    @property
    def lane(self) -> str:
        return self.message.subject

    @property
    def lookups(self) -> tuple[EventLookup, ...]:
        return tuple([lookup for _, lookups in self.handlers for lookup in lookups])

    def letter(self, reason: str | None) -> DeadLetter:
        return DeadLetter(message=self.message, type=self.event.type, reason=reason)


SequentialEvent = FoldEvent | HandledEvent


def lane_of(table: str, key: Key) -> str:
    """The text that identifies the events of a folded row, which wait together."""
    return f"{table} {json.dumps(key)}"


def key_of_lane(lane: str) -> Key:
    """The key in a lane's text."""
    return tuple(json.loads(lane.partition(" ")[2]))


def unreadable(
    message: Message, kind: str, error: Exception, blocked: set[str], fold_key: str | None = None
) -> DeadLetter:
    """The dead letter of an event that cannot be read; what waits with it is added to `blocked`."""
    letter = DeadLetter(message=message, type=kind, reason=reason_of(error, kind), fold_key=fold_key)
    if letter.lane in blocked:
        return DeadLetter(message=message, type=kind, reason=None, fold_key=fold_key)
    blocked.add(letter.lane)
    return letter


def open_once(envelope: Envelope | Recorded[Any], message: Message) -> Recorded[Any]:
    """The decoded event.

    Raises:
        LookupError, msgspec.DecodeError: as `open_event`.
    """
    if isinstance(envelope, Recorded):
        return envelope
    return open_event(envelope, stream=message.stream, sequence=message.sequence, subject=message.subject)
