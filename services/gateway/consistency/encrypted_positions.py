"""Positions as clients get them: encrypted and authenticated. They reveal nothing of the streams and cannot be forged.

The text is base64url of the key's tag (4 bytes) and AES-SIV (RFC 5297) of the plain text, which is padded so that its
length does not show how large the sequences are. AES-SIV needs no nonce: the same position under the same key is the
same text at every gateway, and the number of texts is unlimited. Between the services positions are plain.
"""

import binascii
from collections.abc import Callable, Mapping

from cryptography.exceptions import InvalidTag

from contracts.errors import Invalid
from contracts.positions import Position
from infra.security.key_ring import TAG_BYTES
from infra.security.position_keys import PositionKey, PositionKeys

# Longest position that a client may send, in characters.
LONGEST = 512
_BLOCK = 16
_PURPOSE = [b"vestnik position"]
# Cached texts: many clients share a position.
_KEPT = 1_024
_PLAIN, _SAFE = bytes.maketrans(b"-_", b"+/"), bytes.maketrans(b"+/", b"-_")
_PADDING = ("", "===", "==", "=")


class SealedPositions:
    def __init__(self, keys: PositionKeys, *, check: Callable[[Position], None] = lambda position: None) -> None:
        """`check`: raises if a position of this system is no longer usable."""
        self._keys = keys
        self._check = check
        self._kept: dict[tuple[tuple[str, int], ...], str] = {}
        self._kept_under: PositionKey | None = None

    def seal(self, position: Position) -> str:
        """The position's text for a client; empty for the empty position."""
        plain = position.encode()
        return _sealed(plain, self._keys.current()) if plain else ""

    def seal_sequences(self, sequences: Mapping[str, int]) -> str:
        """Like `seal`, for positions that many clients share: each is encrypted once and cached."""
        key = self._keys.current()
        if key is not self._kept_under or len(self._kept) >= _KEPT:
            self._kept.clear()
            self._kept_under = key
        cache_key = tuple(sequences.items())
        text = self._kept.get(cache_key)
        if text is None:
            text = self._kept[cache_key] = self.seal(Position(dict(cache_key)))
        return text

    def open(self, text: str) -> Position:
        """Decrypts what `seal` wrote, here or at another gateway of the deployment; an empty text is the start.

        Raises:
            Invalid: it is not a position, has been changed, or its key was removed.
            HistoryChanged: events before it are permanently lost.
        """
        if not text:
            return Position()
        if len(text) > LONGEST:
            raise _refusal()
        try:
            padded = (text + _PADDING[len(text) % 4]).encode("ascii")
            raw = binascii.a2b_base64(padded.translate(_PLAIN), strict_mode=True)
        except ValueError as error:
            raise _refusal() from error
        if _text(raw) != text:
            # Not canonical: decoding ignores some bits of the last character.
            raise _refusal()
        key = self._keys.find(raw[:TAG_BYTES])
        if key is None:
            raise _refusal()
        try:
            plain = key.cipher.decrypt(raw[TAG_BYTES:], _PURPOSE)
        except InvalidTag as error:
            raise _refusal() from error
        position = Position.decode(plain.rstrip(b"\0").decode("ascii"))
        self._check(position)
        return position


def _sealed(plain: str, key: PositionKey) -> str:
    padded = plain.encode("ascii")
    padded += bytes(-len(padded) % _BLOCK)
    raw = key.tag + key.cipher.encrypt(padded, _PURPOSE)
    return _text(raw)


def _text(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).translate(_SAFE, b"=").decode()


def _refusal() -> Invalid:
    return Invalid("The position is not from this system.")
