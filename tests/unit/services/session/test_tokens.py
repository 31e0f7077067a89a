"""Refresh tokens and access tokens."""

from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InvalidRefreshToken
from contracts.values.ids import made_at, new_id
from services.session.tokens import AccessTokens, RefreshToken, RefreshTokens

TOKENS = RefreshTokens(b"r" * 32)
SESSION = "01890a5d-ac96-774b-bcce-b302099a8057"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.integers(1, 10**9))
def test_a_refresh_token_names_session_and_generation(generation: int) -> None:
    token = RefreshToken(session_id=SESSION, generation=generation)
    text = TOKENS.sign(token)
    assert text.startswith(f"{SESSION}.{generation}.")
    assert TOKENS.read(text) == token


def test_the_same_generation_is_the_same_token() -> None:
    token = RefreshToken(session_id=SESSION, generation=3)
    assert TOKENS.sign(token) == TOKENS.sign(token)


@pytest.mark.parametrize("other", ["2", "01", "1 ", "-1", ""])
def test_another_generation_under_the_same_signature_is_refused(other: str) -> None:
    mac = TOKENS.sign(RefreshToken(session_id=SESSION, generation=1)).rpartition(".")[2]
    with pytest.raises(InvalidRefreshToken):
        TOKENS.read(f"{SESSION}.{other}.{mac}")


class OneKey:
    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def current(self) -> tuple[str, Ed25519PrivateKey]:
        return "key-1", self._key


@given(st.text(max_size=200))
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(InvalidRefreshToken):
        TOKENS.read(text)


def test_another_deployments_token_is_refused() -> None:
    with pytest.raises(InvalidRefreshToken):
        TOKENS.read(RefreshTokens(b"other" * 8).sign(RefreshToken(session_id=SESSION, generation=1)))


def test_an_access_token_says_who_in_which_session_and_until_when() -> None:
    key = Ed25519PrivateKey.generate()
    tokens = AccessTokens(OneKey(key), issuer="https://chat.example.org", seconds=900)
    user_id = new_id()
    text, seconds = tokens.sign(user_id, SESSION, now=NOW, session_ends=NOW + timedelta(days=30), second_factor=True)
    assert seconds == 900
    assert jwt.get_unverified_header(text) == {"alg": "EdDSA", "kid": "key-1", "typ": "JWT"}
    claims = jwt.decode(
        text,
        key.public_key(),
        algorithms=["EdDSA"],
        audience="vestnik",
        issuer="https://chat.example.org",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["sub"] == user_id
    assert claims["sid"] == SESSION
    assert claims["exp"] - claims["iat"] == 900
    assert claims["jti"]
    assert claims["auth_time"] == int(made_at(SESSION).timestamp())
    assert claims["amr"] == ["pwd", "otp"]


def test_an_access_token_does_not_outlive_its_session() -> None:
    tokens = AccessTokens(OneKey(Ed25519PrivateKey.generate()), issuer="x", seconds=900)
    text, seconds = tokens.sign(
        new_id(), SESSION, now=NOW, session_ends=NOW + timedelta(seconds=60), second_factor=False
    )
    assert seconds == 60
    assert jwt.decode(text, options={"verify_signature": False})["amr"] == ["pwd"]
