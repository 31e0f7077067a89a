"""Refresh tokens and access tokens.

A refresh token is `<session id>.<generation>.<MAC>`, so events and tables contain nothing that could be stolen. An
access token is a JWT that any gateway verifies with the public key alone.
"""

import hashlib
import hmac
import re
from datetime import datetime
from typing import Protocol

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.errors import InvalidRefreshToken
from contracts.values import base64url
from contracts.values.ids import is_id, made_at, new_id

AUDIENCE = "vestnik"
_GENERATION = re.compile(r"[1-9][0-9]{0,9}\Z")
_PURPOSE = b"vestnik refresh 1\0"


class RefreshToken(msgspec.Struct, frozen=True, kw_only=True):
    session_id: str
    generation: int


class RefreshTokens:
    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, token: RefreshToken) -> str:
        body = f"{token.session_id}.{token.generation}"
        return f"{body}.{self._mac(body)}"

    def read(self, text: str) -> RefreshToken:
        """Verifies and parses a token; does not check whether it was used.

        Raises:
            InvalidRefreshToken: the signature is not ours.
        """
        body, _, mac = text.rpartition(".")
        session_id, _, generation = body.partition(".")
        if not text.isascii() or not hmac.compare_digest(mac, self._mac(body)):
            raise InvalidRefreshToken
        if not is_id(session_id) or not _GENERATION.match(generation):
            raise InvalidRefreshToken
        return RefreshToken(session_id=session_id, generation=int(generation))

    def _mac(self, body: str) -> str:
        digest = hmac.new(self._key, _PURPOSE + body.encode(), hashlib.sha256).digest()
        return base64url.encode(digest)


class Keys(Protocol):
    """Source of the signing key, which is rotated."""

    def current(self) -> tuple[str, Ed25519PrivateKey]:
        """Returns the current key and its id, the id first."""


class AccessTokens:
    """Signs access tokens, valid for `seconds`."""

    def __init__(self, keys: Keys, *, issuer: str, seconds: int) -> None:
        self._keys = keys
        self._issuer = issuer
        self._seconds = seconds

    def sign(
        self, user_id: str, session_id: str, *, now: datetime, session_ends: datetime, second_factor: bool
    ) -> tuple[str, int]:
        """Returns the token and the seconds until it expires, at the latest with its session.

        It names how and when the user logged in: `amr` (RFC 8176) and `auth_time`, the same after a refresh.
        """
        issued = int(now.timestamp())
        expires = min(issued + self._seconds, int(session_ends.timestamp()))
        claims = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": user_id,
            "sid": session_id,
            "jti": new_id(),
            "auth_time": int(made_at(session_id).timestamp()),
            "amr": ["pwd", "otp"] if second_factor else ["pwd"],
            "iat": issued,
            "exp": expires,
        }
        key_id, key = self._keys.current()
        token = jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": key_id})
        return token, expires - issued
