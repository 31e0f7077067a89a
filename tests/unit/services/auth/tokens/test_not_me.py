"""Tokens of the link "this was not me"."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InvalidToken
from services.auth.tokens.email_verification import Verification, VerificationTokens
from services.auth.tokens.not_me import NotMe, NotMeTokens
from services.auth.tokens.password_reset import Reset, ResetTokens

KEY = b"m" * 32
TOKENS = NotMeTokens(KEY)
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
USER, EVENT = "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058"
REPORT = NotMe(user_id=USER, credential=3, event_id=EVENT, event_at=AT, claim_key="ab" * 16)


@given(st.uuids(), st.uuids(), st.integers(0, 2**32 - 1), st.integers(0, 2**34))
def test_a_token_says_what_was_signed(user: UUID, event: UUID, credential: int, seconds: int) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    report = NotMe(user_id=str(user), credential=credential, event_id=str(event), event_at=at, claim_key=user.hex)
    assert TOKENS.read(TOKENS.sign(report)) == report


@given(st.integers(0, 95), st.sampled_from("ABCabc019-_"))
def test_a_changed_token_is_refused(index: int, character: str) -> None:
    token = TOKENS.sign(REPORT)
    changed = token[:index] + character + token[index + 1 :]
    if changed != token:
        with pytest.raises(InvalidToken):
            TOKENS.read(changed)


def test_no_other_kind_of_token_passes_for_it_nor_it_for_another() -> None:
    verification = Verification(user_id=USER, claim_key="ab" * 16, expires_at=AT)
    reset = Reset(user_id=USER, credential=3, expires_at=AT)
    for token in (VerificationTokens(KEY).sign(verification), ResetTokens(KEY).sign(reset), "", "x" * 98):
        with pytest.raises(InvalidToken):
            TOKENS.read(token)
    for other in (VerificationTokens(KEY), ResetTokens(KEY)):
        with pytest.raises(InvalidToken):
            other.read(TOKENS.sign(REPORT))
