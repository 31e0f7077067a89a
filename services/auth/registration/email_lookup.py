"""Finds the claim key of an e-mail address, including keys from before all spellings of a domain shared one."""

from contracts.envelope import now
from contracts.events.user import AddressState
from contracts.values.field_types import folded_login
from services.auth.claim_keys import ClaimKeys
from services.auth.registration.decisions import as_of
from streams.repository import Repository


async def email_key(addresses: Repository[AddressState], keys: ClaimKeys, email: str) -> str:
    """Returns the key under which the address is claimed: preferably by an owner, else by pending registrations.

    It makes the same reads whether the address is known or not.
    """
    candidates = keys.of_spellings(email)
    if len(candidates) == 1:
        return candidates[0]
    folded = folded_login(email)
    states = [(key, (await addresses.load(key)).state) for key in candidates]
    # One spelling's key may hold another address: case folding before IDNA turned `ß` into `ss`.
    owned = [key for key, state in states if state.owner is not None and _is(state.email, folded)]
    # What an erasure has reserved names no address any more.
    reserved = [key for key, state in states if not state.email and as_of(state, now()).owner is not None]
    pending = [key for key, state in states if any(_is(registration.email, folded) for registration in state.pending)]
    return next(iter(owned + reserved + pending), keys.of_email(email))


def _is(email: str | None, folded: str) -> bool:
    return email is not None and folded_login(email) == folded
