"""Undo tokens: allow the reader of the mail to an account's earlier address to make it the current one again."""

from datetime import datetime
from typing import Annotated

import msgspec

from services.auth.tokens.token_codec import DIGEST, ID, TIME, TokenCodec


class EmailChangeUndo(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a token: the account may return to the claim's address until it is no longer the account's."""

    user_id: Annotated[str, ID]
    claim_key: Annotated[str, DIGEST]
    # Differs between two changes of the same address.
    until: Annotated[datetime, TIME]


class EmailChangeUndoTokens(TokenCodec[EmailChangeUndo]):
    def __init__(self, key: bytes) -> None:
        super().__init__(key, b"vestnik e-mail change undo 1\0", EmailChangeUndo)
