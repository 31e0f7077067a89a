"""Signed tokens: a binary body with a MAC, in base64url, short enough for one line.

Tokens are not stored; a mail can be rendered again because signing is deterministic.
"""

import hashlib
import hmac

from contracts.errors import InvalidToken
from contracts.values import base64url

# 120 bits
_MAC = 15


class Signer:
    """Signs tokens for one purpose; refuses those of another purpose, even with the same key."""

    def __init__(self, key: bytes, purpose: bytes) -> None:
        self._key = key
        self._purpose = purpose

    def sign(self, body: bytes) -> str:
        return base64url.encode(body + self._mac(body))

    def open(self, token: str, length: int) -> bytes:
        """Verifies a token and returns its body, which must have this length.

        Raises:
            InvalidToken: the signature is not ours, or is for another purpose.
        """
        try:
            raw = base64url.decode(token)
        except ValueError as error:
            raise InvalidToken from error
        body, mac = raw[:-_MAC], raw[-_MAC:]
        if len(body) != length or not hmac.compare_digest(mac, self._mac(body)):
            raise InvalidToken
        return body

    def _mac(self, body: bytes) -> bytes:
        return hmac.new(self._key, self._purpose + body, hashlib.sha256).digest()[:_MAC]
