"""Verification tokens: signed, so that a mail can be written again without storing what it said.

A token has the user (16 bytes), the claim's key (16), the time it runs out in Unix milliseconds (6) and a MAC (15): 71
characters in base64url, which with `Token: ` before them fit into the 78 of a mail's line.
"""

import base64
import binascii
import hashlib
import hmac
from datetime import datetime
from uuid import UUID

import msgspec

from contracts.errors import InvalidToken
from contracts.times import from_unix_ms, to_unix_ms

_ID = 16
_KEY = 16
_TIME = 6
# 120 bits
_MAC = 15
_PURPOSE = b"vestnik e-mail verification 1\0"


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says: this user may verify the address behind this claim until then."""

    user_id: str
    # 32 hex characters
    claim_key: str
    # To the millisecond, so that a token asked for again is another one.
    expires_at: datetime


class VerificationTokens:
    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, verification: Verification) -> str:
        body = (
            UUID(verification.user_id).bytes
            + bytes.fromhex(verification.claim_key)
            + to_unix_ms(verification.expires_at).to_bytes(_TIME, "big")
        )
        return _to_text(body + self._mac(body))

    def read(self, token: str) -> Verification:
        """What the token says, whether it has run out or not.

        Raises:
            InvalidToken: it was not signed here.
        """
        raw = _from_text(token)
        body, mac = raw[:-_MAC], raw[-_MAC:]
        if len(raw) != _ID + _KEY + _TIME + _MAC or not hmac.compare_digest(mac, self._mac(body)):
            raise InvalidToken
        return Verification(
            user_id=str(UUID(bytes=body[:_ID])),
            claim_key=body[_ID : _ID + _KEY].hex(),
            expires_at=from_unix_ms(int.from_bytes(body[_ID + _KEY :], "big")),
        )

    def _mac(self, body: bytes) -> bytes:
        return hmac.new(self._key, _PURPOSE + body, hashlib.sha256).digest()[:_MAC]


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
