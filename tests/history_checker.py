"""Checks the history of appends, as clients saw it, against the stream.

A `RecordingLog` records the outcome of each append: acknowledged, refused (which guarantees that nothing was stored),
or unknown. Afterwards `History.violations` compares the outcomes with the stream.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import Enum
from typing import TypeVar

import msgspec
from nats.aio.client import Client

from contracts.errors import Overloaded, Unavailable
from streams.log import Append, Conflict, Log
from streams.message import Message
from streams.reader import Reader

R = TypeVar("R")


class Outcome(Enum):
    ACKNOWLEDGED = "acknowledged"
    # Conflict, unavailable, no space: not stored, now or later.
    REFUSED = "refused"
    # Deadline exceeded, or the caller was cancelled.
    UNKNOWN = "unknown"


class Attempt(msgspec.Struct, kw_only=True):
    """One append, of one event or of an atomic batch."""

    # Event ids, in order.
    events: list[str]
    aggregates: list[str]
    # The last sequence acknowledged on each aggregate when this append began; its events must come after it.
    floors: list[int]
    outcome: Outcome = Outcome.UNKNOWN
    sequences: list[int] = []


class History:
    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self._acknowledged: dict[str, int] = {}
        self._grown = asyncio.Event()

    @property
    def acknowledged(self) -> int:
        return sum(len(attempt.events) for attempt in self.attempts if attempt.outcome is Outcome.ACKNOWLEDGED)

    async def grows_by(self, events: int) -> None:
        """Waits until `events` more events are acknowledged."""
        goal = self.acknowledged + events
        while self.acknowledged < goal:
            self._grown.clear()
            await self._grown.wait()

    async def record(self, appends: Sequence[Append], store: Callable[[], Awaitable[R]]) -> R:
        """Runs an append and records its outcome; returns its result or raises its error."""
        aggregates = [append.envelope.aggregate_id for append in appends]
        attempt = Attempt(
            events=[append.envelope.id for append in appends],
            aggregates=aggregates,
            floors=[self._acknowledged.get(aggregate, 0) for aggregate in aggregates],
        )
        self.attempts.append(attempt)
        try:
            answer = await store()
        except (Conflict, Unavailable, Overloaded):
            attempt.outcome = Outcome.REFUSED
            raise
        attempt.outcome = Outcome.ACKNOWLEDGED
        attempt.sequences = list(answer) if isinstance(answer, list) else [msgspec.convert(answer, int)]
        for aggregate, sequence in zip(aggregates, attempt.sequences, strict=True):
            self._acknowledged[aggregate] = max(sequence, self._acknowledged.get(aggregate, 0))
        self._grown.set()
        return answer

    def violations(self, stored: Iterable[Message]) -> list[str]:
        """Returns every contradiction between the stream and the outcomes.

        `stored`: the stream's messages in order; those of other aggregates are ignored.
        """
        own_aggregates = {aggregate for attempt in self.attempts for aggregate in attempt.aggregates}
        positions: dict[str, int] = {}
        problems: list[str] = []
        versions: Counter[str] = Counter()
        for message in stored:
            envelope = message.envelope()
            if envelope.aggregate_id not in own_aggregates:
                continue
            if envelope.id in positions:
                problems.append(f"{envelope.id} stands twice: at {positions[envelope.id]} and {message.sequence}")
            positions.setdefault(envelope.id, message.sequence)
            versions[envelope.aggregate_id] += 1
            if envelope.version != versions[envelope.aggregate_id]:
                problems.append(
                    f"{envelope.aggregate_id}: version {envelope.version} stands"
                    f" where {versions[envelope.aggregate_id]} belongs"
                )
        attempted_events = {event for attempt in self.attempts for event in attempt.events}
        problems += [f"{event} was appended by nobody" for event in positions if event not in attempted_events]
        for attempt in self.attempts:
            problems += _contradictions(attempt, positions)
        return problems


class RecordingLog(Log):
    """The production log, with the outcome of each append recorded."""

    def __init__(self, nc: Client, history: History, *, patience: float = 10.0) -> None:
        super().__init__(nc, patience=patience)
        self._history = history

    async def append(self, append: Append) -> int:
        return await self._history.record([append], lambda: super(RecordingLog, self).append(append))

    async def append_together(self, appends: Sequence[Append]) -> list[int]:
        return await self._history.record(appends, lambda: super(RecordingLog, self).append_together(appends))


async def all_of(nc: Client, stream: str) -> list[Message]:
    """Returns all messages of the stream, in order."""
    end = await Log(nc).end_of(stream)
    messages: list[Message] = []
    async with Reader(nc, stream, name="history") as reader:
        async for batch in reader.batches():
            messages += batch.messages
            if batch.position >= end:
                break
    return messages


def _contradictions(attempt: Attempt, positions: dict[str, int]) -> list[str]:
    stored = [event for event in attempt.events if event in positions]
    problems: list[str] = []
    if stored and len(stored) != len(attempt.events):
        problems.append(f"{len(stored)} of {len(attempt.events)} events of one append are stored")
    if attempt.outcome is Outcome.REFUSED:
        problems += [f"{event} was refused and is stored at {positions[event]}" for event in stored]
    if attempt.outcome is not Outcome.ACKNOWLEDGED:
        return problems
    for event, sequence, floor in zip(attempt.events, attempt.sequences, attempt.floors, strict=True):
        position = positions.get(event)
        if position is None:
            problems.append(f"{event} was acknowledged at {sequence} and is lost")
        elif position != sequence:
            problems.append(f"{event} was acknowledged at {sequence} and stands at {position}")
        if sequence <= floor:
            problems.append(f"{event} was acknowledged at {sequence}, not behind {floor}, acknowledged before it began")
    return problems
