"""Finds the claim of an e-mail address, also one from before all spellings of its domain shared a key."""

from contracts.fields import folded_login
from services.auth.claims import ClaimKeys
from services.auth.domain import EmailClaim
from streams.repository import Repository


async def email_key(claims: Repository[EmailClaim], keys: ClaimKeys, email: str) -> str:
    """The key of the address's claim, or the one under which it is to be claimed.

    It takes the same reads whether the address is claimed or not.
    """
    candidates = keys.of_spellings(email)
    if len(candidates) == 1:
        return candidates[0]
    folded = folded_login(email)
    found = [(key, (await claims.load(key)).state) for key in candidates]
    # The key of one spelling may hold another address: the folding of case before IDNA made `ß` an `ss`.
    held = [key for key, claim in found if claim.holder is not None and folded_login(claim.email or "") == folded]
    return held[0] if held else keys.of_email(email)
