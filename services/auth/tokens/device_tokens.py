"""Device tokens: identify a device that has logged in to an account, so that others' guesses do not lock it out.

A password change increments the credential's generation and so invalidates every token. A token grants nothing without
the password.
"""

import secrets
from typing import Annotated

import msgspec

from contracts.errors import InvalidToken
from services.auth.tokens.token_codec import DEVICE, GENERATION, ID, TokenCodec


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a token: the device has proved this generation of the user's credential."""

    user_id: Annotated[str, ID]
    credential: Annotated[int, GENERATION]
    # Random, so that each device has its own token.
    device_id: Annotated[bytes, DEVICE]


class DeviceTokens:
    def __init__(self, key: bytes) -> None:
        self._codec = TokenCodec(key, b"vestnik device 1\0", Device)

    def make(self, user_id: str, generation: int) -> str:
        """Creates a token for a device that has just proved the credential of this generation."""
        return self._codec.sign(
            Device(user_id=user_id, credential=generation, device_id=secrets.token_bytes(DEVICE.size))
        )

    def knows(self, token: str, user_id: str, generation: int) -> bool:
        """Whether the token belongs to a device that has proved this user's credential of this generation."""
        try:
            device = self._codec.read(token)
        except InvalidToken:
            return False
        return (device.user_id, device.credential) == (user_id, generation)
