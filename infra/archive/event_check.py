"""Checks that each event of a stream is whole and the next one of its aggregate."""

from collections.abc import Iterator, Mapping

import msgspec

from contracts import subjects
from contracts.aggregate_types import AGGREGATE_TYPE_OF
from contracts.envelope import Envelope
from infra.archive.format.unreadable_events import examine

# Faults that are described; further ones are counted.
_NAMED = 100


class Fault(msgspec.Struct, frozen=True):
    """Something that no healthy stream has."""

    stream: str
    sequence: int
    # Empty for an event that is missing.
    subject: str
    what: str

    def __str__(self) -> str:
        subject = f" ({self.subject})" if self.subject else ""
        return f"{self.stream}:{self.sequence}{subject}: {self.what}"


class EventCheck:
    """Checks the events of one stream, in their order. Keeps about 100 bytes per event and 250 per aggregate."""

    def __init__(self, stream: str, ids: set[int]) -> None:
        """`ids`: the hashes of all ids checked so far; shared between streams, since ids are unique over all."""
        self.stream = stream
        self.ids = ids
        self._lost_in = subjects.lost_in(stream)
        # By subject: version and sequence of its last event.
        self._last: dict[str, tuple[int, int]] = {}
        # Lost events that an operator has accepted: each may be one that an aggregate lacks.
        self._lost = 0
        self.events = 0
        self.faults = 0
        self.named: list[Fault] = []

    @property
    def aggregates(self) -> int:
        return len(self._last)

    def lost(self, events: int) -> None:
        """Notes events that are missing here and whose loss an operator has accepted."""
        self._lost += events

    def fault(self, sequence: int, subject: str, what: str) -> None:
        self.faults += 1
        if len(self.named) < _NAMED:
            self.named.append(Fault(self.stream, sequence, subject, what))

    def check(
        self, sequence: int, subject: str, payload: bytes, headers: Mapping[str, str], *, discarded: bool = False
    ) -> None:
        """`discarded`: operators have left the event out of read models, so that it may be unreadable."""
        self.events += 1
        envelope, why = examine(payload)
        if why is not None and not discarded:
            self.fault(sequence, subject, f"cannot be read: {why}")
        if subject == self._lost_in:
            self.lost(1)
        version, previous = self._last.get(subject, (0, 0))
        if envelope is None:
            # It has a version that cannot be read.
            self._last[subject] = version + 1, sequence
            return
        self._last[subject] = envelope.version, sequence
        for what in (
            *self._wrong_place(envelope, subject),
            *self._wrong_version(envelope, subject, version),
            # After a version that is missing here, the condition names its sequence.
            *self._wrong_headers(envelope, headers, previous if envelope.version == version + 1 else None),
        ):
            self.fault(sequence, subject, what)

    def _wrong_place(self, envelope: Envelope, subject: str) -> Iterator[str]:
        if not subjects.passes(subject, subjects.all_of(self.stream)):
            yield "has a subject of another stream"
            return
        kind = AGGREGATE_TYPE_OF.get(envelope.type)
        if kind is not None and not subjects.passes(subject, kind.pattern):
            yield f"is a {envelope.type}, which belongs on {kind.address}"
        elif subject != self._lost_in and subject.split(".", 3)[-1] != envelope.aggregate_id:
            yield f"names another aggregate: {envelope.aggregate_id}"

    def _wrong_version(self, envelope: Envelope, subject: str, version: int) -> Iterator[str]:
        identity = hash(envelope.id)
        if identity in self.ids:
            yield f"has the id of an earlier event: {envelope.id}"
        self.ids.add(identity)
        if envelope.version == version + 1 or subject == self._lost_in:
            return
        skipped = envelope.version - version - 1
        if 0 < skipped <= self._lost:
            # The versions between were lost, and an operator has accepted it.
            self._lost -= skipped
        else:
            before = f"after version {version}" if version else "and is the first of its aggregate"
            yield f"has version {envelope.version}, {before}"

    def _wrong_headers(self, envelope: Envelope, headers: Mapping[str, str], previous: int | None) -> Iterator[str]:
        if (header := headers.get("Nats-Msg-Id")) != envelope.id:
            yield f"has the header Nats-Msg-Id {header or '(none)'}, and the id {envelope.id}"
        if (stream := headers.get("Nats-Expected-Stream", self.stream)) != self.stream:
            yield f"was appended to another stream: {stream}"
        condition = headers.get("Nats-Expected-Last-Subject-Sequence")
        if condition is not None and previous is not None and condition != str(previous):
            yield f"was appended after {condition} of its subject, which is {previous} here"
