"""Password reset tokens: allow the reader of a user's mail to set a new password, once and for a short time.

A password change increments the credential's generation and so invalidates every outstanding token.
"""

from datetime import datetime
from typing import Annotated

import msgspec

from services.auth.tokens.token_codec import GENERATION, ID, TIME, TokenCodec


class Reset(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a token: its bearer may replace this generation of the user's credential until the expiry."""

    user_id: Annotated[str, ID]
    credential: Annotated[int, GENERATION]
    expires_at: Annotated[datetime, TIME]


class ResetTokens(TokenCodec[Reset]):
    def __init__(self, key: bytes) -> None:
        super().__init__(key, b"vestnik password reset 1\0", Reset)
