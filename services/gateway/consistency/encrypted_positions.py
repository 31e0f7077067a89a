"""Positions as clients get them: encrypted and authenticated. They reveal nothing of the streams and cannot be forged.

The text is base64url of the key's tag (4 bytes) and AES-SIV (RFC 5297) of the plain text, which is padded so that its
length does not show how large the sequences are. AES-SIV needs no nonce: the same position under the same key is the
same text at every gateway, and the number of texts is unlimited. Between the services positions are plain.
"""

from collections.abc import Callable, Mapping

from cryptography.exceptions import InvalidTag

from contracts.errors import Invalid
from contracts.positions import Position
from contracts.values import base64url
from infra.security.key_ring import TAG_BYTES
from infra.security.position_keys import PositionKey, PositionKeys

# Longest position that a client may send, in characters.
LONGEST = 512
_BLOCK = 16
_PURPOSE = [b"vestnik position"]
# Cached texts: many clients share a position.
_KEPT = 1_024


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
            raw = base64url.decode(text)
        except ValueError as error:
            raise _refusal() from error
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
    return base64url.encode(key.tag + key.cipher.encrypt(padded, _PURPOSE))


def _refusal() -> Invalid:
    return Invalid("The position is not from this system.")
