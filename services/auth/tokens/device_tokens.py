"""Device tokens: identify a device that has logged in to an account, so that others' guesses do not lock it out.

Layout: user id (16 bytes), credential generation (4), random device id (8), MAC (15). A password change increments
the generation and so invalidates every token. A token grants nothing without the password.
"""

import secrets
from uuid import UUID

from contracts.errors import InvalidToken
from services.auth.tokens.signer import Signer

_ID = 16
_GENERATION = 4
_DEVICE = 8


class DeviceTokens:
    def __init__(self, key: bytes) -> None:
        self._signer = Signer(key, b"vestnik device 1\0")

    def make(self, user_id: str, generation: int) -> str:
        """Creates a token for a device that has just proved the credential of this generation."""
        return self._signer.sign(_owner(user_id, generation) + secrets.token_bytes(_DEVICE))

    def knows(self, token: str, user_id: str, generation: int) -> bool:
        """Whether the token belongs to a device that has proved this user's credential of this generation."""
        try:
            body = self._signer.open(token, _ID + _GENERATION + _DEVICE)
        except InvalidToken:
            return False
        return body.startswith(_owner(user_id, generation))


def _owner(user_id: str, generation: int) -> bytes:
    return UUID(user_id).bytes + generation.to_bytes(_GENERATION, "big")
