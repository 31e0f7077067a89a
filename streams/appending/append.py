"""An event to append with its condition, and the error that says that the condition did not hold."""

import msgspec

from contracts.envelope import Envelope


class Append(msgspec.Struct, frozen=True, kw_only=True):
    """An event to append, and the condition of the append."""

    subject: str
    # The last sequence seen on the subject; 0 if none.
    expected: int
    envelope: Envelope


class Conflict(Exception):
    """Another writer appended to the subject; nothing of this append was stored."""

    def __init__(self, subject: str, expected: int) -> None:
        self.subject = subject
        self.expected = expected
        super().__init__(f"{subject} has moved on from {expected}")
