"""Verification tokens."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InvalidToken
from services.auth.tokens.email_verification import Verification, VerificationTokens

TOKENS = VerificationTokens(b"m" * 32)
VERIFICATION = Verification(
    user_id="01890a5d-ac96-774b-bcce-b302099a8057",
    claim_key="00112233445566778899aabbccddeeff",
    expires_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)


@given(
    st.uuids(),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**34),
)
def test_a_token_says_what_was_signed(user: UUID, key: bytes, seconds: int) -> None:
    verification = Verification(user_id=str(user), claim_key=key.hex(), expires_at=datetime.fromtimestamp(seconds, UTC))
    assert TOKENS.read(TOKENS.sign(verification)) == verification


def test_a_token_fits_into_one_line_of_a_mail() -> None:
    assert len(f"Token: {TOKENS.sign(VERIFICATION)}") <= 78


@given(st.integers(0, 70), st.sampled_from("ABCabc019-_"))
def test_a_changed_token_is_refused(index: int, character: str) -> None:
    token = TOKENS.sign(VERIFICATION)
    changed = token[:index] + character + token[index + 1 :]
    if changed != token:
        with pytest.raises(InvalidToken):
            TOKENS.read(changed)


@given(st.text(max_size=200))
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(InvalidToken):
        TOKENS.read(text)


def test_another_deployments_token_is_refused() -> None:
    with pytest.raises(InvalidToken):
        TOKENS.read(VerificationTokens(b"other" * 8).sign(VERIFICATION))


def test_a_token_that_was_mailed_before_stays_valid() -> None:
    mailed = "AYkKXayWd0u8zrMCCZqAVwARIjNEVWZ3iJmqu8zd7v8Bm3ypjIh1ZRfD59mLMnK3eHOmXOY"
    assert TOKENS.read(mailed) == VERIFICATION
    assert TOKENS.sign(VERIFICATION) == mailed
