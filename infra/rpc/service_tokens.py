"""Service tokens: each call proves which service makes it, to which service, and on behalf of which user.

A token is a JWT (EdDSA) with `iss` = the caller, `aud` = the callee, `sub` = the user (omitted if there is none), valid
for five minutes. In the gateway's tokens for the operator's service, `sid` and `addr` are the client's session and
address, `auth_time` and `amr` when and how its user logged in (as in the access token), and `unattended` that nobody
touched the page; no other service may claim them. Each service has its own private key and knows the public keys of
all, so none can impersonate another. A token is reused for many calls: signing and verifying each time would cost more
than the calls.
"""

import time
from base64 import urlsafe_b64decode
from collections.abc import Callable

import jwt
import msgspec

from contracts.errors import Unauthenticated
from contracts.services import GATEWAY
from infra.rpc.call_context import ClientSession
from infra.security.secrets import Secrets
from streams.lru_cache import LruCache

# Authentication methods in `amr` (RFC 8176).
PASSWORD, SECOND_FACTOR = "pwd", "otp"  # names of methods
# Seconds.
LIFE = 300
_RENEW = 60
# Clock skew between two machines, in seconds.
_LEEWAY = 5
_CACHED = 20_000
# In characters. Ours have about 350; longer ones are rejected without parsing.
_LONGEST = 2048
# Least seconds between two reloads of the public keys.
_LOOK = 2.0


class Credential(msgspec.Struct, frozen=True):
    """The facts that a token proves."""

    service: str
    # Id of the user on whose behalf the call is made.
    user: str | None
    # Unix time.
    expires_at: float
    # Of the client; only from the gateway.
    session: ClientSession | None = None


class _Claims(msgspec.Struct, frozen=True):
    iat: int
    exp: int
    sub: str | None = None
    sid: str | None = None
    addr: str | None = None
    auth_time: int = 0
    amr: tuple[str, ...] = ()
    unattended: bool = False

    @property
    def session(self) -> ClientSession | None:
        if not self.sid:
            return None
        return ClientSession(
            session_id=self.sid,
            address=self.addr or "",
            logged_in_at=self.auth_time,
            second_factor=SECOND_FACTOR in self.amr,
            unattended=self.unattended,
        )

    @property
    def names_client(self) -> bool:
        """Whether it claims anything about a client's session."""
        return (self.sid, self.addr, self.auth_time, self.amr, self.unattended) != (None, None, 0, (), False)


class _Claimed(msgspec.Struct, frozen=True):
    iss: str


_CLAIMED = msgspec.json.Decoder(_Claimed)


class Issuer:
    """Issues the tokens with which one service calls others; a token is reused until shortly before it expires."""

    def __init__(self, me: str, secrets: Secrets, *, clock: Callable[[], float] = time.time) -> None:
        self._me = me
        self._secrets = secrets
        self._key = secrets.service_key(me)
        self._clock = clock
        self._looked = clock()
        self._tokens: LruCache[tuple[str, str | None, ClientSession | None], tuple[str, float]] = LruCache(_CACHED)

    def token(self, target: str, user: str | None = None, session: ClientSession | None = None) -> str:
        """A token for calling `target`, on behalf of `user` if given, in that client's `session`."""
        token, until = self._tokens.peek((target, user, session)) or ("", 0.0)
        now = self._clock()
        if until - _RENEW > now:
            return token
        if now - self._looked > _RENEW:
            # A rotated key is used from the next token on, without a restart.
            self._key, self._looked = self._secrets.service_key(self._me, fresh=True), now
        claims: dict[str, object] = {"iss": self._me, "aud": target, "iat": int(now), "exp": int(now) + LIFE}
        if user is not None:
            claims["sub"] = user
        if session is not None:
            claims |= {
                "sid": session.session_id,
                "addr": session.address,
                "auth_time": session.logged_in_at,
                "amr": [PASSWORD, SECOND_FACTOR] if session.second_factor else [PASSWORD],
                "unattended": session.unattended,
            }
        token = jwt.encode(claims, self._key, algorithm="EdDSA")
        self._tokens.put((target, user, session), (token, now + LIFE))
        return token


class Verifier:
    """Verifies the tokens of a service's callers."""

    def __init__(self, me: str, secrets: Secrets, *, clock: Callable[[], float] = time.time) -> None:
        self._me = me
        self._secrets = secrets
        self._keys = secrets.service_public_keys()
        self._clock = clock
        self._looked = clock()
        self._verified: LruCache[str, Credential] = LruCache(_CACHED)

    def credential(self, authorization: str) -> Credential:
        """Verifies the token of a call.

        Raises:
            Unauthenticated: no token, or an invalid one: of another deployment, for another service, expired.
        """
        known = self._verified.peek(authorization)
        if known is not None and known.expires_at > self._clock():
            return known
        known = self._verify(authorization)
        self._verified.put(authorization, known)
        return known

    def _verify(self, authorization: str) -> Credential:
        scheme, _, token = authorization.partition(" ")
        try:
            if scheme != "Bearer" or len(token) > _LONGEST:
                raise jwt.InvalidTokenError("no bearer token")
            claimed = _claimed(token)
            claims = msgspec.convert(self._decoded(token, claimed), _Claims)
            if claims.exp - claims.iat > LIFE:
                raise jwt.InvalidTokenError("lifetime exceeds the maximum")
        except (jwt.PyJWTError, msgspec.ValidationError, RecursionError) as error:
            # RecursionError: deeply nested brackets.
            raise Unauthenticated("A valid service token is needed.") from error
        if claims.names_client and claimed != GATEWAY:
            raise Unauthenticated("Only the gateway knows clients' sessions.")
        return Credential(claimed, claims.sub, claims.exp, claims.session)

    def _decoded(self, token: str, service: str) -> dict[str, object]:
        try:
            return self._decode(token, service)
        except (jwt.InvalidSignatureError, jwt.InvalidIssuerError):
            if self._clock() - self._looked < _LOOK:
                raise
            self._keys, self._looked = self._secrets.service_public_keys(fresh=True), self._clock()
            return self._decode(token, service)

    def _decode(self, token: str, service: str) -> dict[str, object]:
        wrong: jwt.PyJWTError = jwt.InvalidIssuerError("unknown issuer")
        for key in self._keys.get(service, ()):
            try:
                return jwt.decode(
                    token,
                    key,
                    algorithms=["EdDSA"],
                    audience=self._me,
                    issuer=service,
                    leeway=_LEEWAY,
                    options={"require": ["iss", "aud", "iat", "exp"], "strict_aud": True},
                )
            except jwt.InvalidSignatureError as error:
                wrong = error
        raise wrong


def _claimed(token: str) -> str:
    """The issuer that the token claims, which selects the key to verify it with. Nothing is trusted before that.

    Decoded separately: the library would parse the whole token twice, and each user's first call in five minutes brings
    a new one.

    Raises:
        jwt.DecodeError: the token names no issuer.
    """
    parts = token.split(".")
    try:
        return _CLAIMED.decode(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))).iss
    except (IndexError, ValueError, msgspec.DecodeError) as error:
        raise jwt.DecodeError("no issuer") from error
