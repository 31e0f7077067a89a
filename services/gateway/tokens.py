"""Access tokens: verified with the session service's public keys, remembered once verified, refused once revoked."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import jwt
import msgspec

from contracts.errors import Unauthenticated, Unavailable
from contracts.identifiers import is_id

AUDIENCE = "vestnik"
_ALGORITHM = "EdDSA"
_REMEMBERED = 50_000
# Ours are about 500 characters; what is longer is not worth a look.
_LONGEST = 4096


class Caller(msgspec.Struct, frozen=True):
    """Whom an access token speaks for."""

    user_id: str
    session_id: str
    # Unix time.
    expires_at: float


class Revoked(Protocol):
    """Which sessions were ended before their tokens ran out."""

    @property
    def alive(self) -> bool:
        """Whether it can be relied on just now."""

    def __contains__(self, session_id: object, /) -> bool: ...


class AccessTokens:
    """Verifies access tokens. A verified token is remembered until it runs out, within a bound."""

    def __init__(
        self,
        jwks: bytes,
        *,
        issuer: str,
        revoked: Revoked,
        capacity: int = _REMEMBERED,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = {key.key_id: key for key in jwt.PyJWKSet.from_json(jwks.decode()).keys if key.key_id}
        self._issuer = issuer
        self._revoked = revoked
        self._capacity = capacity
        self._clock = clock
        self._verified: OrderedDict[str, Caller] = OrderedDict()

    def caller(self, authorization: str | None) -> Caller:
        """Whom the Authorization header speaks for.

        Raises:
            Unauthenticated: no bearer token, not one of ours, run out, or of a session that was ended.
            Unavailable: it is not known just now which sessions were ended; refused rather than risked.
        """
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > _LONGEST:
            raise Unauthenticated
        caller = self._remembered(token) or self._verify(token)
        if not self._revoked.alive:
            raise Unavailable
        if caller.session_id in self._revoked:
            raise Unauthenticated("The session has ended.")
        return caller

    def _remembered(self, token: str) -> Caller | None:
        caller = self._verified.get(token)
        if caller is None:
            return None
        if caller.expires_at <= self._clock():
            del self._verified[token]
            raise Unauthenticated("The access token has run out.")
        self._verified.move_to_end(token)
        return caller

    def _verify(self, token: str) -> Caller:
        try:
            key = self._keys.get(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                raise jwt.InvalidTokenError("unknown kid")
            claims = jwt.decode(
                token,
                key,
                algorithms=[_ALGORITHM],
                audience=AUDIENCE,
                issuer=self._issuer,
                options={"require": ["exp", "iat", "iss", "aud", "sub", "sid"], "verify_iat": False},
            )
            caller = Caller(claims["sub"], claims["sid"], float(claims["exp"]))
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated("The access token has run out.") from error
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise Unauthenticated from error
        if not is_id(str(caller.user_id)) or not is_id(str(caller.session_id)):
            raise Unauthenticated
        self._verified[token] = caller
        if len(self._verified) > self._capacity:
            self._verified.popitem(last=False)
        return caller
