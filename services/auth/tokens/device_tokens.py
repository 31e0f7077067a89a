"""Device tokens: they mark a device that has logged in to an account, so that guesses of others do not keep it out.

A token has the user (16 bytes), the generation of the credential (4), a random id of the device (8) and a MAC (15). Any
change of the password makes the next generation, and with it voids every token. It opens nothing without the password.
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
        """The token of a device that has just proved the credential of this generation."""
        return self._signer.sign(_owner(user_id, generation) + secrets.token_bytes(_DEVICE))

    def knows(self, token: str, user_id: str, generation: int) -> bool:
        """Whether the token is of a device that has proved this user's credential of this generation."""
        try:
            body = self._signer.open(token, _ID + _GENERATION + _DEVICE)
        except InvalidToken:
            return False
        return body.startswith(_owner(user_id, generation))


def _owner(user_id: str, generation: int) -> bytes:
    return UUID(user_id).bytes + generation.to_bytes(_GENERATION, "big")
