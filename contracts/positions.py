"""Position: a vector of the last sequence seen in each stream, which can be merged and compared.

As text it is opaque to clients: base64url of `{"A": 12, "M": 903}` with one ASCII letter per stream.
"""

import re
from collections.abc import Mapping
from typing import Self

import msgspec

from contracts.errors import Invalid, Violation
from contracts.notification_kinds import NOTIFIED_CONTACT, NOTIFIED_MESSAGING, NOTIFIED_SESSION
from contracts.subjects import STREAM_CODES
from contracts.values import base64url

# The character of each entry of a position.
CODES = STREAM_CODES | {NOTIFIED_CONTACT: "c", NOTIFIED_MESSAGING: "m", NOTIFIED_SESSION: "s"}
_NAMES = {code: name for name, code in CODES.items()}
_DECODER = msgspec.json.Decoder(dict[str, int])
_ENCODER = msgspec.json.Encoder()
# What a code may be, also one of a later release.
_LETTER = re.compile("[A-Za-z]").fullmatch
# In characters: `"A":9223372036854775807,` is 24 bytes, which are 32 characters. A later release may have more entries.
_LONGEST = 32 * (len(CODES) + 4)
_MOST = 1 << 63


class Position(msgspec.Struct, frozen=True):
    """The last sequence seen of each stream; an absent stream has not been seen at all."""

    sequences: Mapping[str, int] = {}

    @classmethod
    def at(cls, stream: str, sequence: int) -> Self:
        return cls({stream: sequence})

    @classmethod
    def decode(cls, text: str) -> Self:
        """Decodes the output of `encode`; an empty text is the start.

        Entries that this release does not know are left out: a later release may run beside it during an update.

        Raises:
            Invalid: the text is not a position.
        """
        if not text:
            return cls()
        try:
            if len(text) > _LONGEST:
                raise ValueError(text)
            sequences: dict[str, int] = {}
            for code, sequence in _DECODER.decode(base64url.decode(text)).items():
                if not 0 <= sequence < _MOST:
                    raise ValueError(text)
                name = _NAMES.get(code)
                if name is not None:
                    sequences[name] = sequence
                elif not _LETTER(code):
                    raise ValueError(text)
        except (msgspec.DecodeError, ValueError) as error:
            raise Invalid("The position is not valid.", violations=(Violation("", "not a position"),)) from error
        return cls(sequences)

    def encode(self) -> str:
        if not self.sequences:
            return ""
        return base64url.encode(_ENCODER.encode({CODES[name]: self.sequences[name] for name in sorted(self.sequences)}))

    def merge(self, other: Self) -> Self:
        """The smallest position that covers both: the maximum of each stream."""
        ours, theirs = self.sequences, other.sequences
        if not ours:
            return other
        merged: dict[str, int] | None = None
        for name, sequence in theirs.items():
            if sequence > ours.get(name, -1):
                if merged is None:
                    merged = dict(ours)
                merged[name] = sequence
        return self if merged is None else type(self)(merged)

    def covers(self, other: Self) -> bool:
        """Whether every event up to the other position is within this one, stream by stream."""
        return all(sequence <= self.sequence(stream) for stream, sequence in other.sequences.items())

    def sequence(self, stream: str) -> int:
        """The last sequence seen of the stream; 0 if none."""
        return self.sequences.get(stream, 0)
