"""Tokens that reset a password."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InvalidToken
from services.auth.tokens.email_verification import Verification, VerificationTokens
from services.auth.tokens.password_reset import Reset, ResetTokens

KEY = b"m" * 32
TOKENS = ResetTokens(KEY)
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RESET = Reset(user_id="01890a5d-ac96-774b-bcce-b302099a8057", credential=3, expires_at=AT)


@given(st.uuids(), st.integers(0, 2**32 - 1), st.integers(0, 2**34))
def test_a_token_says_what_was_signed(user: UUID, credential: int, seconds: int) -> None:
    reset = Reset(user_id=str(user), credential=credential, expires_at=datetime.fromtimestamp(seconds, UTC))
    assert TOKENS.read(TOKENS.sign(reset)) == reset


def test_a_token_fits_into_one_line_of_a_mail() -> None:
    assert len(f"Token: {TOKENS.sign(RESET)}") <= 78


@given(st.integers(0, 54), st.sampled_from("ABCabc019-_"))
def test_a_changed_token_is_refused(index: int, character: str) -> None:
    token = TOKENS.sign(RESET)
    changed = token[:index] + character + token[index + 1 :]
    if changed != token:
        with pytest.raises(InvalidToken):
            TOKENS.read(changed)


def test_neither_kind_of_token_passes_for_the_other() -> None:
    verification = Verification(user_id=RESET.user_id, claim_key="ab" * 16, expires_at=AT)
    with pytest.raises(InvalidToken):
        TOKENS.read(VerificationTokens(KEY).sign(verification))
    with pytest.raises(InvalidToken):
        VerificationTokens(KEY).read(TOKENS.sign(RESET))


def test_a_token_that_was_mailed_before_stays_valid() -> None:
    mailed = "AYkKXayWd0u8zrMCCZqAVwAAAAMBm3ypjIho1d8wiqswmYQh_3d95U4"
    assert TOKENS.read(mailed) == RESET
    assert TOKENS.sign(RESET) == mailed
