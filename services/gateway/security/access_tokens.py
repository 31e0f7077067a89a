"""Access tokens: verified with the session service's public keys, cached once verified, refused once revoked."""

import time
from collections.abc import Callable
from typing import Protocol

import jwt
import msgspec

from contracts.errors import Unauthenticated, Unavailable
from contracts.values.ids import is_id, made_at
from streams.lru_cache import LruCache

AUDIENCE = "vestnik"
_ALGORITHM = "EdDSA"
_REMEMBERED = 50_000
# Longest token that is parsed, in characters; ours have about 500.
_LONGEST = 4096
# Seconds by which a token's issue may be in the future. Ended sessions are remembered from now on, so one that counts
# only later could outlive what is remembered of its session.
_LEEWAY = 30


class Principal(msgspec.Struct, frozen=True):
    """The user and session of an access token."""

    user_id: str
    session_id: str
    # Unix time.
    expires_at: float
    # Id of the signing key.
    key_id: str
    # Unix time of the login, in seconds.
    logged_in_at: int = 0
    # Whether the login came with a second factor.
    second_factor: bool = False


class Revoked(Protocol):
    """Sessions that ended before their tokens expired."""

    @property
    def alive(self) -> bool:
        """Whether the set is up to date."""

    def __contains__(self, session_id: object, /) -> bool: ...


class Keys(Protocol):
    """Public keys that verify tokens."""

    @property
    def generation(self) -> int:
        """Increases with each change of the keys."""

    def reload_if_changed(self) -> None:
        """Loads changed keys, within about a second of the change."""

    def find(self, key_id: str) -> jwt.PyJWK | None: ...


class AccessTokens:
    """Verifies access tokens. Verified tokens are kept in a bounded LRU cache until they expire."""

    def __init__(
        self,
        keys: Keys,
        *,
        issuer: str,
        revoked: Revoked,
        longest: int = 86_400,
        capacity: int = _REMEMBERED,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`longest`: maximum age of a token in seconds from its issue, whatever its own expiry.

        Revocations are kept for as long, so lowering the setting brings no ended session back.
        """
        self._keys = keys
        self._edition = keys.generation
        self._issuer = issuer
        self._revoked = revoked
        self._longest = longest
        self._clock = clock
        self._verified: LruCache[str, Principal] = LruCache(capacity)

    def authenticate(self, authorization: str | None) -> Principal:
        """Returns the principal of an `Authorization` header.

        Raises:
            Unauthenticated: no bearer token, not one of ours, issued in the future, expired, or its session has ended.
            Unavailable: the revocations are out of date; refused rather than risked.
        """
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > _LONGEST:
            raise Unauthenticated
        self._keys.reload_if_changed()
        if self._edition != self._keys.generation:
            # A key may have been removed, which invalidates every token that it signed.
            self._edition = self._keys.generation
            self._verified.clear()
        caller = self._remembered(token) or self._verify(token)
        self._check_session(caller)
        return caller

    def recheck(self, caller: Principal) -> None:
        """Checks that the caller's token is still valid, for actions later than `authenticate`.

        Raises:
            Unauthenticated, Unavailable: as in `authenticate`.
        """
        if caller.expires_at <= self._clock():
            raise Unauthenticated("The access token has expired.")
        self._keys.reload_if_changed()
        if self._keys.find(caller.key_id) is None:
            raise Unauthenticated
        self._check_session(caller)

    def _check_session(self, caller: Principal) -> None:
        if not self._revoked.alive:
            raise Unavailable
        if caller.session_id in self._revoked:
            raise Unauthenticated("The session has ended.")

    def _remembered(self, token: str) -> Principal | None:
        caller = self._verified.get(token)
        if caller is None:
            return None
        if caller.expires_at <= self._clock():
            self._verified.discard(token)
            raise Unauthenticated("The access token has expired.")
        return caller

    def _verify(self, token: str) -> Principal:
        try:
            key_id = str(jwt.get_unverified_header(token).get("kid"))
            key = self._keys.find(key_id)
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
            caller = Principal(
                claims["sub"],
                claims["sid"],
                min(float(claims["exp"]), float(claims["iat"]) + self._longest),
                key_id,
                # Tokens from before the claim have a session's id, which begins with its time.
                int(claims["auth_time"]) if "auth_time" in claims else int(made_at(claims["sid"]).timestamp()),
                "otp" in claims.get("amr", ()),
            )
            now = self._clock()
            if caller.expires_at <= now:
                raise jwt.ExpiredSignatureError
            if float(claims["iat"]) > now + _LEEWAY:
                raise jwt.ImmatureSignatureError
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated("The access token has expired.") from error
        except jwt.ImmatureSignatureError as error:
            raise Unauthenticated("The access token is not valid yet.") from error
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise Unauthenticated from error
        if not is_id(str(caller.user_id)) or not is_id(str(caller.session_id)):
            raise Unauthenticated
        self._verified.put(token, caller)
        return caller
