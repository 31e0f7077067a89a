"""Service tokens: each call proves which service makes it, to which service, and on behalf of which user.

A token is a JWT (EdDSA) with `iss` = the caller, `aud` = the callee, `sub` = the user (omitted if there is none), valid
for five minutes. In the gateway's tokens for the operator's service, `sid` and `addr` are the client's session and
address, `auth_time` and `amr` when and how its user logged in (as in the access token), and `unattended` that nobody
touched the page; no other service may claim them. Each service has its own private key and knows the public keys of
all, so none can impersonate another. A token is reused for many calls: signing and verifying each time would cost more
than the calls.
"""

from collections.abc import Callable
from time import monotonic, time
from typing import NamedTuple

import jwt
import msgspec

from contracts.errors import Unauthenticated
from contracts.services import GATEWAY
from contracts.values import base64url
from infra.rpc.call_context import ClientSession
from infra.rpc.clock_skew import ClockSkew
from infra.security.secrets import Secrets
from streams.lru_cache import LruCache

# Authentication methods in `amr` (RFC 8176).
PASSWORD, SECOND_FACTOR = "pwd", "otp"  # names of methods
# Seconds.
LIFE = 300
_RENEW = 60
_REUSED = LIFE - _RENEW
# Clock skew between two machines, in seconds.
LEEWAY = 30
_CACHED = 20_000
# In characters. Ours have about 350; longer ones are rejected without parsing.
_LONGEST = 2048
# Least seconds between two reloads of the public keys.
_CHECK_SECONDS = 2.0


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


class _Issued(NamedTuple):
    token: str
    # Unix time of its issue.
    at: float
    # On the monotonic clock.
    reused_until: float


_CLAIMED = msgspec.json.Decoder(_Claimed)


class Issuer:
    """Issues the tokens with which one service calls others; a token is reused until shortly before it expires."""

    def __init__(
        self,
        me: str,
        secrets: Secrets,
        *,
        clock: Callable[[], float] = time,
        monotonic: Callable[[], float] = monotonic,
    ) -> None:
        self._me = me
        self._secrets = secrets
        self._key = secrets.service_key(me)
        self._clock = clock
        self._monotonic = monotonic
        self._checked_at = monotonic()
        self._tokens: LruCache[tuple[str, str | None, ClientSession | None], _Issued] = LruCache(_CACHED)

    def token(self, target: str, user: str | None = None, session: ClientSession | None = None) -> str:
        """A token for calling `target`, on behalf of `user` if given, in that client's `session`."""
        issued = self._tokens.peek((target, user, session))
        now, monotonic_now = self._clock(), self._monotonic()
        # Its age by both clocks: one that the wall clock jumped away from would count as expired, or from the future.
        if issued is not None and 0 <= now - issued.at < _REUSED and monotonic_now < issued.reused_until:
            return issued.token
        if monotonic_now - self._checked_at > _RENEW:
            # A rotated key is used from the next token on, without a restart.
            self._key, self._checked_at = self._secrets.service_key(self._me, fresh=True), monotonic_now
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
        self._tokens.put((target, user, session), _Issued(token, now, monotonic_now + _REUSED))
        return token


class Verifier:
    """Verifies the tokens of a service's callers."""

    def __init__(
        self,
        me: str,
        secrets: Secrets,
        *,
        clock: Callable[[], float] = time,
        monotonic: Callable[[], float] = monotonic,
    ) -> None:
        self._me = me
        self._secrets = secrets
        self._keys = secrets.service_public_keys()
        self._clock = clock
        self._monotonic = monotonic
        self._checked_at = monotonic()
        self._skew = ClockSkew(monotonic=monotonic)
        # With the end of each on the monotonic clock.
        self._verified: LruCache[str, tuple[Credential, float]] = LruCache(_CACHED)

    def credential(self, authorization: str) -> Credential:
        """Verifies the token of a call.

        Raises:
            Unauthenticated: no token, or an invalid one: of another deployment, for another service, expired.
        """
        known = self._verified.peek(authorization)
        if known is not None and known[1] > self._monotonic():
            return known[0]
        credential = self._verify(authorization)
        left = credential.expires_at - self._clock()
        self._verified.put(authorization, (credential, self._monotonic() + left))
        return credential

    def _verify(self, authorization: str) -> Credential:
        scheme, _, token = authorization.partition(" ")
        try:
            if scheme != "Bearer" or len(token) > _LONGEST:
                raise jwt.InvalidTokenError("no bearer token")
            claimed = _claimed(token)
            claims = msgspec.convert(self._decoded(token, claimed), _Claims)
            self._skew.observe(claimed, claims.iat - self._clock())
            if claims.exp - claims.iat > LIFE:
                raise jwt.InvalidTokenError("lifetime exceeds the maximum")
            self._check_times(claims)
        except (jwt.PyJWTError, msgspec.ValidationError, RecursionError) as error:
            # RecursionError: deeply nested brackets.
            raise Unauthenticated("A valid service token is needed.") from error
        if claims.names_client and claimed != GATEWAY:
            raise Unauthenticated("Only the gateway knows clients' sessions.")
        return Credential(claimed, claims.sub, claims.exp, claims.session)

    def _check_times(self, claims: _Claims) -> None:
        """
        Raises:
            InvalidTokenError: it has expired, or is from the future, by more than the clocks may differ.
        """
        now = self._clock()
        if claims.iat > now + LEEWAY:
            raise jwt.ImmatureSignatureError("issued in the future")
        if claims.exp <= now - LEEWAY:
            raise jwt.ExpiredSignatureError("expired")

    def _decoded(self, token: str, service: str) -> dict[str, object]:
        try:
            return self._decode(token, service)
        except (jwt.InvalidSignatureError, jwt.InvalidIssuerError):
            if self._monotonic() - self._checked_at < _CHECK_SECONDS:
                raise
            self._keys, self._checked_at = self._secrets.service_public_keys(fresh=True), self._monotonic()
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
                    # Its times are checked afterwards, so that a skew is measured of refused tokens, too.
                    options={
                        "require": ["iss", "aud", "iat", "exp"],
                        "strict_aud": True,
                        "verify_iat": False,
                        "verify_exp": False,
                    },
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
        return _CLAIMED.decode(base64url.decode(parts[1])).iss
    except (IndexError, ValueError, msgspec.DecodeError) as error:
        raise jwt.DecodeError("no issuer") from error
