"""Tokens of the link "this was not me": allow the reader of an alert to end what someone else began.

A reset of the password, which only the reader of the account's mail can do, invalidates every earlier token. A change
with knowledge of the old password does not: whoever the mail warns of may have that knowledge.
"""

from datetime import datetime
from typing import Annotated

import msgspec

from services.auth.tokens.token_codec import GENERATION, ID, TIME, TokenCodec


class NotMe(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a token: the reported event, and the credential's generation then."""

    user_id: Annotated[str, ID]
    credential: Annotated[int, GENERATION]
    event_id: Annotated[str, ID]
    event_at: Annotated[datetime, TIME]


class NotMeTokens(TokenCodec[NotMe]):
    def __init__(self, key: bytes) -> None:
        super().__init__(key, b"vestnik not me 1\0", NotMe)
