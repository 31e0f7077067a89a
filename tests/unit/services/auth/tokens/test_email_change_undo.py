"""Tokens that undo a change of an account's address."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InvalidToken
from services.auth.tokens.email_change_undo import EmailChangeUndo, EmailChangeUndoTokens
from services.auth.tokens.email_verification import Verification, VerificationTokens

KEY = b"m" * 32
TOKENS = EmailChangeUndoTokens(KEY)
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UNDO = EmailChangeUndo(user_id="01890a5d-ac96-774b-bcce-b302099a8057", claim_key="ab" * 16, until=AT)


@given(st.uuids(), st.binary(min_size=16, max_size=16), st.integers(0, 2**34))
def test_a_token_says_what_was_signed(user: UUID, key: bytes, seconds: int) -> None:
    undo = EmailChangeUndo(user_id=str(user), claim_key=key.hex(), until=datetime.fromtimestamp(seconds, UTC))
    assert TOKENS.read(TOKENS.sign(undo)) == undo


def test_a_token_fits_into_one_line_of_a_mail() -> None:
    assert len(f"Token: {TOKENS.sign(UNDO)}") <= 78


def test_a_verification_token_with_the_same_content_is_refused_and_the_reverse() -> None:
    verification = Verification(user_id=UNDO.user_id, claim_key=UNDO.claim_key, expires_at=AT)
    with pytest.raises(InvalidToken):
        TOKENS.read(VerificationTokens(KEY).sign(verification))
    with pytest.raises(InvalidToken):
        VerificationTokens(KEY).read(TOKENS.sign(UNDO))
