"""Service tokens: each call proves which service makes it, with a short-lived signed token for the one it calls.

A token is a JWT (EdDSA) with `iss` = the caller, `aud` = the callee, five minutes long. Each service has a private
key of its own and knows the public keys of all, so none can pass for another.
"""

import time
from collections import OrderedDict

import jwt

from contracts.errors import Forbidden, Unauthenticated
from infra.secrets import Secrets

_LIFE = 300
_RENEW = 60
_CACHED = 256


class Issuer:
    """Makes the tokens with which one service calls others; a token is used until shortly before it runs out."""

    def __init__(self, me: str, secrets: Secrets) -> None:
        self._me = me
        self._key = secrets.service_key(me)
        self._tokens: dict[str, tuple[str, float]] = {}

    def token(self, target: str) -> str:
        token, until = self._tokens.get(target, ("", 0.0))
        now = time.time()
        if until - _RENEW > now:
            return token
        claims = {"iss": self._me, "aud": target, "iat": int(now), "exp": int(now) + _LIFE}
        token = jwt.encode(claims, self._key, algorithm="EdDSA")
        self._tokens[target] = (token, now + _LIFE)
        return token


class Verifier:
    """Checks the tokens of those who call one service."""

    def __init__(self, me: str, callers: frozenset[str], secrets: Secrets) -> None:
        self._me = me
        self._callers = callers
        self._keys = secrets.service_public_keys()
        self._verified: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def caller(self, authorization: str) -> str:
        """The service that a call comes from.

        Raises:
            Unauthenticated: no token, or not a good one.
            Forbidden: a good token of a service that has no business here.
        """
        known = self._verified.get(authorization)
        if known is None or known[1] <= time.time():
            known = self._verify(authorization)
            self._verified[authorization] = known
            if len(self._verified) > _CACHED:
                self._verified.popitem(last=False)
        if known[0] not in self._callers:
            raise Forbidden(f"{known[0]} may not call {self._me}.")
        return known[0]

    def _verify(self, authorization: str) -> tuple[str, float]:
        scheme, _, token = authorization.partition(" ")
        try:
            if scheme != "Bearer":
                raise jwt.InvalidTokenError("no bearer token")
            claimed = jwt.decode(token, options={"verify_signature": False}).get("iss")
            key = self._keys.get(claimed) if isinstance(claimed, str) else None
            if key is None:
                raise jwt.InvalidIssuerError("unknown issuer")
            claims = jwt.decode(
                token,
                key,
                algorithms=["EdDSA"],
                audience=self._me,
                issuer=claimed,
                options={"require": ["iss", "aud", "iat", "exp"]},
            )
        except jwt.InvalidTokenError as error:
            raise Unauthenticated("A valid service token is needed.") from error
        return str(claimed), float(claims["exp"])
