"""Access tokens: what is checked, and what is cached."""

import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.errors import Unauthenticated, Unavailable
from contracts.values.ids import made_at, new_id
from services.gateway.security.access_tokens import AUDIENCE, AccessTokens, Principal

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
USER, SESSION = new_id(), new_id()


class Keys:
    """Keys by their ids; a test may set others, as a new generation."""

    def __init__(self) -> None:
        self.generation = 1
        jwk = {**jwt.algorithms.OKPAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k", "alg": "EdDSA"}
        self.known = {"k": jwt.PyJWK(jwk)}

    def reload_if_changed(self) -> None:
        """Does nothing: the keys change only when a test changes them."""

    def find(self, key_id: str) -> jwt.PyJWK | None:
        return self.known.get(key_id)


class Ended(set[object]):
    alive = True


def tokens(revoked: Ended | None = None, capacity: int = 10) -> AccessTokens:
    return AccessTokens(Keys(), issuer="us", revoked=revoked or Ended(), capacity=capacity)


def bearer(claims: Mapping[str, object] | None = None, key: Ed25519PrivateKey = KEY, kid: str = "k") -> str:
    now = int(time.time())
    defaults = {"iss": "us", "aud": AUDIENCE, "sub": USER, "sid": SESSION, "jti": "j", "iat": now, "exp": now + 60}
    present = {name: value for name, value in {**defaults, **(claims or {})}.items() if value is not None}
    return "Bearer " + jwt.encode(present, key, algorithm="EdDSA", headers={"kid": kid})


def test_a_good_token_speaks_for_its_user() -> None:
    now = int(time.time())
    caller = tokens().authenticate(bearer({"iat": now, "exp": now + 600}))

    assert caller == Principal(USER, SESSION, now + 600.0, "k", int(made_at(SESSION).timestamp()))


def test_a_token_says_when_and_how_its_user_logged_in() -> None:
    caller = tokens().authenticate(bearer({"auth_time": 1_700_000_000, "amr": ["pwd", "otp"]}))
    assert (caller.logged_in_at, caller.second_factor) == (1_700_000_000, True)
    caller = tokens().authenticate(bearer({"auth_time": 1_700_000_000, "amr": ["pwd"]}))
    assert not caller.second_factor


@pytest.mark.parametrize("claims", [{"auth_time": "now"}, {"auth_time": [1]}, {"amr": 7}])
def test_claims_of_another_kind_are_refused(claims: dict[str, object]) -> None:
    with pytest.raises(Unauthenticated):
        tokens().authenticate(bearer(claims))


def test_no_token_is_good_for_longer_than_an_ended_session_is_remembered() -> None:
    access_tokens = AccessTokens(Keys(), issuer="us", revoked=Ended(), longest=300)
    now = int(time.time())
    assert access_tokens.authenticate(bearer({"iat": now, "exp": now + 3600})).expires_at == now + 300
    with pytest.raises(Unauthenticated):
        access_tokens.authenticate(bearer({"iat": now - 301, "exp": now + 3600}))


def test_a_token_that_was_issued_in_the_future_is_refused_until_then() -> None:
    now = int(time.time())
    clock = [float(now)]
    access_tokens = AccessTokens(Keys(), issuer="us", revoked=Ended(), clock=lambda: clock[0])
    access_tokens.authenticate(bearer({"iat": now + 30, "exp": now + 930}))
    later = bearer({"iat": now + 3_600, "exp": now + 4_500})
    with pytest.raises(Unauthenticated, match="not valid yet"):
        access_tokens.authenticate(later)
    clock[0] += 3_570
    access_tokens.authenticate(later)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "them"},
        {"aud": "them"},
        {"sub": "me"},
        {"sid": "1"},
        {"sub": None},
        {"sid": None},
        {"sid": [SESSION]},
        {"exp": None},
        {"exp": 1},
        {"exp": "soon"},
        {"iat": "now"},
        {"iat": None},
    ],
)
def test_a_token_with_a_wrong_or_missing_claim_is_refused(claims: dict[str, object]) -> None:
    with pytest.raises(Unauthenticated):
        tokens().authenticate(bearer(claims))


def nested_brackets() -> str:
    """A token whose header is nothing but brackets."""
    return urlsafe_b64encode(b'{"alg":"EdDSA","kid":' + b"[" * 2_900).decode().rstrip("=")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Basic abc",
        "Bearer a.b.c",
        "Bearer é",
        "Bearer " + "x" * 5000,
        f"Bearer {nested_brackets()}.e30.e30",
    ],
)
def test_a_malformed_token_is_refused(header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        tokens().authenticate(header)


def test_other_keys_and_other_algorithms_are_refused() -> None:
    unsigned = "Bearer " + jwt.encode({"sub": USER}, "", algorithm="none", headers={"kid": "k"})
    for header in (bearer(key=OTHER), bearer(kid="other"), unsigned):
        with pytest.raises(Unauthenticated):
            tokens().authenticate(header)


def test_a_cached_token_is_refused_once_it_ran_out_or_was_revoked() -> None:
    clock = [time.time()]
    revoked = Ended()
    access_tokens = AccessTokens(Keys(), issuer="us", revoked=revoked, clock=lambda: clock[0])
    header = bearer()
    access_tokens.authenticate(header)
    revoked.add(SESSION)
    with pytest.raises(Unauthenticated):
        access_tokens.authenticate(header)
    revoked.clear()
    clock[0] += 61
    with pytest.raises(Unauthenticated):
        access_tokens.authenticate(header)


def test_no_token_is_accepted_while_revocations_are_unknown() -> None:
    revocations = Ended()
    revocations.alive = False
    with pytest.raises(Unavailable):
        AccessTokens(Keys(), issuer="us", revoked=revocations).authenticate(bearer())


def test_the_cache_of_tokens_is_bounded() -> None:
    access_tokens = tokens(capacity=2)
    for second in range(5):
        access_tokens.authenticate(bearer({"exp": int(time.time()) + 60 + second}))
    assert len(access_tokens._verified) == 2


def test_the_removal_of_a_key_invalidates_the_tokens_that_it_signed() -> None:
    keys = Keys()
    access_tokens = AccessTokens(keys, issuer="us", revoked=Ended())
    header = bearer()
    access_tokens.authenticate(header)
    keys.known.clear()
    keys.generation += 1
    with pytest.raises(Unauthenticated):
        access_tokens.authenticate(header)


def test_an_accepted_caller_is_checked_again_for_later_requests() -> None:
    clock = [time.time()]
    revoked, keys = Ended(), Keys()
    access_tokens = AccessTokens(keys, issuer="us", revoked=revoked, clock=lambda: clock[0])
    caller = access_tokens.authenticate(bearer())
    access_tokens.recheck(caller)
    revoked.add(SESSION)
    with pytest.raises(Unauthenticated):
        access_tokens.recheck(caller)
    revoked.clear()
    revoked.alive = False
    with pytest.raises(Unavailable):
        access_tokens.recheck(caller)
    revoked.alive = True
    key = keys.known.pop("k")
    with pytest.raises(Unauthenticated):
        access_tokens.recheck(caller)
    keys.known["k"] = key
    access_tokens.recheck(caller)
    clock[0] += 61
    with pytest.raises(Unauthenticated):
        access_tokens.recheck(caller)
