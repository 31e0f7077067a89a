"""Verification tokens: signed, so that a mail can be written again without storing what it said.

A token has the user (16 bytes), the claim's key (16), the time it runs out in Unix milliseconds (6) and a MAC (15): 71
characters in base64url, which with `Token: ` before them fit into the 78 of a mail's line.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from contracts.values.timestamps import from_unix_ms, to_unix_ms
from services.auth.tokens.signer import Signer

_ID = 16
_KEY = 16
_TIME = 6


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says: this user may verify the address behind this claim until then."""

    user_id: str
    # 32 hex characters
    claim_key: str
    # To the millisecond, so that a token asked for again is another one.
    expires_at: datetime


class VerificationTokens:
    def __init__(self, key: bytes) -> None:
        self._signer = Signer(key, b"vestnik e-mail verification 1\0")

    def sign(self, verification: Verification) -> str:
        return self._signer.sign(
            UUID(verification.user_id).bytes
            + bytes.fromhex(verification.claim_key)
            + to_unix_ms(verification.expires_at).to_bytes(_TIME, "big")
        )

    def read(self, token: str) -> Verification:
        """What the token says, whether it has run out or not.

        Raises:
            InvalidToken: it was not signed here.
        """
        body = self._signer.open(token, _ID + _KEY + _TIME)
        return Verification(
            user_id=str(UUID(bytes=body[:_ID])),
            claim_key=body[_ID : _ID + _KEY].hex(),
            expires_at=from_unix_ms(int.from_bytes(body[_ID + _KEY :], "big")),
        )
