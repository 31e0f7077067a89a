"""Which stored events this release cannot read, and which of those a file accepts unchanged."""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from importlib.metadata import version

import msgspec

from contracts import catalogue, envelope
from contracts.envelope import Envelope
from infra.operator_errors import OperatorError

# Events that are kept with their reason; of further ones, stream and sequence only.
_NAMED = 100
_SAID = 5

# By stream, the first and the last sequence of each run, in order.
Runs = dict[str, list[tuple[int, int]]]
# Whether an event, by stream and sequence, is accepted although it cannot be read.
Accepted = Callable[[str, int], bool]


class UnreadableEvent(msgspec.Struct, frozen=True):
    stream: str
    sequence: int
    subject: str
    why: str

    def __str__(self) -> str:
        return f"{self.stream} {self.sequence:,} ({self.why})"


def examine(payload: bytes) -> tuple[Envelope | None, str | None]:
    """Returns the event's envelope (None if it has none) and why this release cannot read it (None if it can)."""
    try:
        event = envelope.decode(payload)
    except msgspec.DecodeError as error:
        return None, f"no event: {error}"
    if (known := catalogue.EVENTS.get(event.type)) is None:
        return event, f"{event.type}, a type that this release does not know"
    if event.schema > known.SCHEMA:
        return event, f"{event.type} of schema {event.schema}, while this release knows schemas up to {known.SCHEMA}"
    try:
        catalogue.decode(event.type, event.schema, event.data, may_be_sealed=True)
    except (msgspec.DecodeError, LookupError) as error:
        return event, f"{event.type} of schema {event.schema}: {error}"
    return event, None


class Unreadable:
    """The events of a file or of streams that this release cannot read; added in the order of each stream."""

    def __init__(self) -> None:
        self.count = 0
        self.named: list[UnreadableEvent] = []
        self.runs: Runs = {}

    def add(self, event: UnreadableEvent) -> None:
        self.count += 1
        if len(self.named) < _NAMED:
            self.named.append(event)
        runs = self.runs.setdefault(event.stream, [])
        if runs and runs[-1][1] == event.sequence - 1:
            runs[-1] = (runs[-1][0], event.sequence)
        else:
            runs.append((event.sequence, event.sequence))

    def without(self, accepted: Accepted) -> "Unreadable":
        """The events that are not accepted."""
        named = {(event.stream, event.sequence): event for event in self.named}
        left = Unreadable()
        for stream, sequence in self._positions():
            if not accepted(stream, sequence):
                left.add(named.get((stream, sequence)) or UnreadableEvent(stream, sequence, "", "cannot be read"))
        return left

    def _positions(self) -> Iterator[tuple[str, int]]:
        for stream, runs in self.runs.items():
            for first, last in runs:
                for sequence in range(first, last + 1):
                    yield stream, sequence

    def __str__(self) -> str:
        """The first few, in one line."""
        more = f" and {self.count - _SAID:,} more" if self.count > _SAID else ""
        return "; ".join(map(str, self.named[:_SAID])) + more


class CannotBeImported(OperatorError):
    """The export would hold events that an import refuses."""

    def __init__(self, unreadable: Unreadable) -> None:
        self.unreadable = unreadable
        super().__init__(
            f"nothing was exported: {_events(unreadable)} cannot be read by this release ({release()}), so an "
            f"import would refuse them: {unreadable}. `--allow-unreadable` exports them unchanged"
        )


class UnknownContent(OperatorError):
    """The file holds what this release cannot read."""


def refusal(unreadable: Unreadable, written_by: str) -> str:
    """The reason for which a file with these events is not imported."""
    return (
        f"has {_events(unreadable)} that this release ({release()}) cannot read: {unreadable}. Release "
        f"{written_by} wrote the file: use that release or a later one, or `--allow-unreadable`, which imports "
        "these events unchanged"
    )


def note(unreadable: Unreadable) -> str:
    """The remark of an import that stored these events unchanged."""
    return f"imported unchanged: {_events(unreadable)} that this release cannot read, {unreadable}"


def release() -> str:
    return version("vestnik")


def _events(unreadable: Unreadable) -> str:
    return "1 event" if unreadable.count == 1 else f"{unreadable.count:,} events"


def within(runs: Runs) -> Accepted:
    """Accepts the events in the runs."""

    def accepts(stream: str, sequence: int) -> bool:
        known = runs.get(stream, [])
        index = bisect_right(known, sequence, key=lambda run: run[0])
        return index > 0 and sequence <= known[index - 1][1]

    return accepts
