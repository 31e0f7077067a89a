"""Tokens that say something and prove that it was said here: bytes with a MAC, in base64url, short enough for a line.

What a token says is not stored anywhere, so that a mail can be written again.
"""

import base64
import binascii
import hashlib
import hmac

from contracts.errors import InvalidToken

# 120 bits
_MAC = 15


class Signer:
    """Signs for one purpose; a token of another purpose is not one of its own, though the key be the same."""

    def __init__(self, key: bytes, purpose: bytes) -> None:
        self._key = key
        self._purpose = purpose

    def sign(self, body: bytes) -> str:
        return _to_text(body + self._mac(body))

    def open(self, token: str, length: int) -> bytes:
        """The body, of this length.

        Raises:
            InvalidToken: it was not signed here, or not for this.
        """
        raw = _from_text(token)
        body, mac = raw[:-_MAC], raw[-_MAC:]
        if len(body) != length or not hmac.compare_digest(mac, self._mac(body)):
            raise InvalidToken
        return body

    def _mac(self, body: bytes) -> bytes:
        return hmac.new(self._key, self._purpose + body, hashlib.sha256).digest()[:_MAC]


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _from_text(token: str) -> bytes:
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidToken from error
    # base64 leaves bits unused at the end; a token has one form only.
    if _to_text(raw) != token:
        raise InvalidToken
    return raw
