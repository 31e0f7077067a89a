"""The results of an audit of a stream, and how they are printed."""

import msgspec

from contracts.events.notary import TreeClosed
from infra.audit.saved_heads import SavedHead


class FirstWrong(msgspec.Struct, frozen=True, kw_only=True):
    """The first sequence that is wrong, or the range that it is in."""

    # Both included.
    first: int
    last: int
    what: str
    # The first event of the range that does not fit to those before it, if any: `STREAM:SEQUENCE (SUBJECT): WHAT`.
    shown_by: str | None = None

    def __str__(self) -> str:
        return f"{self.first}: {self.what}" if self.first == self.last else f"{self.first}-{self.last}: {self.what}"


class ClosedTree(msgspec.Struct, frozen=True, kw_only=True):
    """A tree that a signed record has closed."""

    tree: int
    size: int
    # Of the last event of the tree that is still stored.
    last_sequence: int
    reason: str
    cause: str
    at: str
    # Events that an earlier head covered and the record has voided.
    void: int

    @classmethod
    def of(cls, end: TreeClosed, void: int) -> "ClosedTree":
        return cls(
            tree=end.tree,
            size=end.size,
            last_sequence=end.last_sequence,
            reason=end.reason,
            cause=end.cause,
            at=end.at,
            void=void,
        )


class StreamAudit(msgspec.Struct, frozen=True, kw_only=True):
    """The results of an audit of one stream."""

    stream: str
    sound: bool
    # The sequence after which it began to read: that of a saved head, or 0.
    after: int
    # The stream's last sequence when the audit began.
    end: int
    # Events read that agree with a signed head.
    events: int
    # Events after the last head.
    unsigned: int
    heads: int
    # The last head that agrees with the events; None if none does.
    head: SavedHead | None
    first_wrong: FirstWrong | None
    # What is wrong with the heads, and events that are missing.
    faults: list[str]
    # What is to be said about kept heads, and is no fault.
    accepted: list[str]
    closed: list[ClosedTree]
    seconds: float
    events_per_second: float
