"""Verification tokens: signed, so that a mail can be rendered again without storing its token.

A token has 71 characters, which fit into a mail's line of 78 with `Token: ` before them.
"""

from datetime import datetime
from typing import Annotated

import msgspec

from services.auth.tokens.token_codec import DIGEST, ID, TIME, TokenCodec


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a token: the user may verify the claim's address until the expiry."""

    user_id: Annotated[str, ID]
    claim_key: Annotated[str, DIGEST]
    # With millisecond precision, so that a token requested again differs.
    expires_at: Annotated[datetime, TIME]


class VerificationTokens(TokenCodec[Verification]):
    def __init__(self, key: bytes) -> None:
        super().__init__(key, b"vestnik e-mail verification 1\0", Verification)
