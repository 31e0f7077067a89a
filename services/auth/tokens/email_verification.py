"""Verification tokens: signed, so that a mail can be rendered again without storing its token.

Layout: user id (16 bytes), claim key (16), expiry in Unix milliseconds (6), MAC (15). That is 71 characters in
base64url, which fit into a mail's line of 78 with `Token: ` before them.
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
    """The content of a token: the user may verify the claim's address until the expiry."""

    user_id: str
    # 32 hex characters
    claim_key: str
    # With millisecond precision, so that a token requested again differs.
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
        """Returns the token's content; does not check the expiry.

        Raises:
            InvalidToken: the signature is not ours.
        """
        body = self._signer.open(token, _ID + _KEY + _TIME)
        return Verification(
            user_id=str(UUID(bytes=body[:_ID])),
            claim_key=body[_ID : _ID + _KEY].hex(),
            expires_at=from_unix_ms(int.from_bytes(body[_ID + _KEY :], "big")),
        )
