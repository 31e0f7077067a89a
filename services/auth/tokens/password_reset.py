"""Tokens that let whoever has a user's mail set another password: once, and for a short time.

A token has the user (16 bytes), the generation of the credential (4), the time it runs out in Unix milliseconds (6) and
a MAC (15). Any change of the password makes the next generation, and with it spends every token that is out.
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
    """What a token says: whoever has it may replace this generation of the user's credential until then."""

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
        """What the token says, whether it has run out or was spent or not.

        Raises:
            InvalidToken: it was not signed here.
        """
        body = self._signer.open(token, _ID + _GENERATION + _TIME)
        return Reset(
            user_id=str(UUID(bytes=body[:_ID])),
            credential=int.from_bytes(body[_ID : _ID + _GENERATION], "big"),
            expires_at=from_unix_ms(int.from_bytes(body[_ID + _GENERATION :], "big")),
        )
