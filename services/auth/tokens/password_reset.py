"""Password reset tokens: allow the reader of a user's mail to set a new password, once and for a short time.

Layout: user id (16 bytes), credential generation (4), expiry in Unix milliseconds (6), MAC (15). A password change
increments the generation and so invalidates every outstanding token.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from contracts.values.timestamps import from_unix_ms, to_unix_ms
from services.auth.tokens.signer import Signer

_ID = 16
_GENERATION = 4
_TIME = 6


class Reset(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a token: its bearer may replace this generation of the user's credential until the expiry."""

    user_id: str
    credential: int
    expires_at: datetime


class ResetTokens:
    def __init__(self, key: bytes) -> None:
        self._signer = Signer(key, b"vestnik password reset 1\0")

    def sign(self, reset: Reset) -> str:
        return self._signer.sign(
            UUID(reset.user_id).bytes
            + reset.credential.to_bytes(_GENERATION, "big")
            + to_unix_ms(reset.expires_at).to_bytes(_TIME, "big")
        )

    def read(self, token: str) -> Reset:
        """Returns the token's content; checks neither the expiry nor whether it was used.

        Raises:
            InvalidToken: the signature is not ours.
        """
        body = self._signer.open(token, _ID + _GENERATION + _TIME)
        return Reset(
            user_id=str(UUID(bytes=body[:_ID])),
            credential=int.from_bytes(body[_ID : _ID + _GENERATION], "big"),
            expires_at=from_unix_ms(int.from_bytes(body[_ID + _GENERATION :], "big")),
        )
