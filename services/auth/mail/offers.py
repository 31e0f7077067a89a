"""Links and tokens that mails offer."""

from datetime import datetime

from contracts.events.user import PendingRegistration
from services.auth.mail.templates import Offer
from services.auth.tokens.email_verification import Verification, VerificationTokens


def page_link(page: str, path: str, token: str) -> str:
    """Returns the link with the token in its fragment, which servers neither receive nor log."""
    return f"{page}/#/{path}/{token}"


def confirmation(
    tokens: VerificationTokens, claim_key: str, pending: PendingRegistration, asked_at: datetime, page: str
) -> Offer:
    """The token that confirms the claim's address for a registration or a change of an account's address."""
    token = tokens.sign(Verification(user_id=pending.user_id, claim_key=claim_key, expires_at=pending.expires_at))
    return Offer(
        username=pending.username,
        token=token,
        link=page_link(page, "confirm", token),
        good_for=pending.expires_at - asked_at,
    )
