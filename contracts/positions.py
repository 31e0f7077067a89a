"""A position: how far into each stream somebody has seen, as a vector that can be merged and compared.

In text it is opaque to clients: base64url of `{"A": 12, "M": 903}` with a letter a stream.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Self

import msgspec

from contracts.errors import Invalid, Violation
from contracts.subjects import STREAMS

_LETTERS = {name: name[0] for name in STREAMS}
_NAMES = {letter: name for name, letter in _LETTERS.items()}
_DECODER = msgspec.json.Decoder(dict[str, int])
_LONGEST = 256


class Position(msgspec.Struct, frozen=True):
    """The last sequence seen of each stream; a stream left out has not been seen at all."""

    sequences: Mapping[str, int] = {}

    @classmethod
    def at(cls, stream: str, sequence: int) -> Self:
        return cls({stream: sequence})

    @classmethod
    def decode(cls, text: str) -> Self:
        """Reads what `encode` wrote; an empty text is the start.

        Raises:
            Invalid: the text is not a position.
        """
        if not text:
            return cls()
        try:
            if len(text) > _LONGEST:
                raise ValueError(text)
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            sequences = {_NAMES[letter]: sequence for letter, sequence in _DECODER.decode(raw).items()}
            if any(not 0 <= sequence < 1 << 63 for sequence in sequences.values()):
                raise ValueError(text)
        except (binascii.Error, msgspec.DecodeError, KeyError, ValueError) as error:
            raise Invalid("The position is not one of ours.", violations=(Violation("", "not a position"),)) from error
        return cls(sequences)

    def encode(self) -> str:
        if not self.sequences:
            return ""
        raw = msgspec.json.encode({_LETTERS[name]: self.sequences[name] for name in sorted(self.sequences)})
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    def merge(self, other: Self) -> Self:
        """The least position that has seen what either has."""
        if not other.sequences:
            return self
        merged = dict(self.sequences)
        for name, sequence in other.sequences.items():
            merged[name] = max(sequence, merged.get(name, 0))
        return type(self)(merged)

    def of(self, stream: str) -> int:
        """The last sequence seen of the stream; 0 where none was."""
        return self.sequences.get(stream, 0)
