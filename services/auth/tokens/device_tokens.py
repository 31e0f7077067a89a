"""Device tokens: identify a device that has logged in to an account, so that others' guesses do not lock it out.

A password change increments the credential's generation and so invalidates every token. A token grants nothing without
the password. One that was issued after a code of the second factor also contains the factor's generation and the time.
"""

import secrets
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from contracts.errors import InvalidToken
from services.auth.tokens.token_codec import DEVICE, GENERATION, ID, TIME, TokenCodec

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class _OlderDevice(msgspec.Struct, frozen=True, kw_only=True):
    """The content of tokens from before there was a second factor."""

    user_id: Annotated[str, ID]
    credential: Annotated[int, GENERATION]
    device_id: Annotated[bytes, DEVICE]


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a token: the device has proved this generation of the user's credential."""

    user_id: Annotated[str, ID]
    credential: Annotated[int, GENERATION]
    # Random, so that each device has its own token.
    device_id: Annotated[bytes, DEVICE]
    # The generation of the second factor of which it proved a code; 0: none.
    second_factor: Annotated[int, GENERATION] = 0
    # When it proved that code.
    proved_at: Annotated[datetime, TIME] = _LONG_AGO


class DeviceTokens:
    def __init__(self, key: bytes) -> None:
        self._codec = TokenCodec(key, b"vestnik device 2\0", Device)
        self._older = TokenCodec(key, b"vestnik device 1\0", _OlderDevice)

    def make(self, user_id: str, generation: int, *, second_factor: int = 0, proved_at: datetime = _LONG_AGO) -> str:
        """Creates a token for a device that has just proved the credential of this generation.

        `second_factor`: the generation of the second factor of which it proved a code at `proved_at`.
        """
        return self._codec.sign(
            Device(
                user_id=user_id,
                credential=generation,
                device_id=secrets.token_bytes(DEVICE.size),
                second_factor=second_factor,
                proved_at=proved_at,
            )
        )

    def find(self, token: str, user_id: str, generation: int) -> Device | None:
        """The device, if it has proved this user's credential of this generation."""
        device = self._read(token)
        if device is None or (device.user_id, device.credential) != (user_id, generation):
            return None
        return device

    def _read(self, token: str) -> Device | None:
        with suppress(InvalidToken):
            return self._codec.read(token)
        with suppress(InvalidToken):
            older = self._older.read(token)
            return Device(user_id=older.user_id, credential=older.credential, device_id=older.device_id)
        return None
