"""Tokens of the link "this was not me": allow the reader of an alert to end what someone else began.

A reset of the password, which only the reader of the account's mail can do, invalidates every earlier token, except
that of a second factor that is still on. A change with knowledge of the old password does not: the person whom the mail
warns of may have that knowledge. A token serves only while the address it was mailed to is the account's.
"""

from datetime import datetime
from typing import Annotated

import msgspec

from services.auth.tokens.token_codec import DIGEST, GENERATION, ID, TIME, TokenCodec


class NotMe(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a token: the reported event, the credential's generation then, and to where it was mailed."""

    user_id: Annotated[str, ID]
    credential: Annotated[int, GENERATION]
    event_id: Annotated[str, ID]
    event_at: Annotated[datetime, TIME]
    # Of the address to which the token was mailed.
    claim_key: Annotated[str, DIGEST]


class NotMeTokens(TokenCodec[NotMe]):
    def __init__(self, key: bytes) -> None:
        super().__init__(key, b"vestnik not me 1\0", NotMe)
