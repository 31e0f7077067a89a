"""Loads the chain of an account's addresses: those that it has left, each with its successor, and the current one."""

from collections.abc import Awaitable, Callable
from datetime import datetime

import msgspec

from contracts.errors import Unavailable
from contracts.events.user import AddressState
from contracts.positions import Position
from contracts.subjects import AUTH
from services.auth.claim_keys import ClaimKeys
from services.auth.email_change.decisions import MOST_CHANGES, is_present
from services.auth.registration.decisions import as_of
from services.auth.registration.email_lookup import email_key
from services.auth.repositories import Aggregates
from streams.repository import LoadedAggregate

# Looks up a user's address in the read model, at least as of the position; raises if that is not possible now.
OwnAddress = Callable[[str, Position], Awaitable[str]]


class Address(msgspec.Struct, frozen=True):
    # Its claim key.
    key: str
    loaded: LoadedAggregate[AddressState]


async def follow(aggregates: Aggregates, key: str, user_id: str, now: datetime) -> list[Address]:
    """Returns the address and those that replaced it, oldest first; none if the address is not the account's."""
    chain: list[Address] = []
    while key and len(chain) <= MOST_CHANGES:
        loaded = await aggregates.addresses.load(key)
        state = as_of(loaded.state, now)
        if state.owner != user_id:
            break
        chain.append(Address(key, loaded))
        key = state.replaced_by
    return chain


async def earlier(aggregates: Aggregates, present: AddressState, user_id: str, now: datetime) -> list[Address]:
    """Returns the addresses that the account has left and that are still its own, the last first."""
    addresses: list[Address] = []
    key = present.replaces
    while key and len(addresses) < MOST_CHANGES:
        loaded = await aggregates.addresses.load(key)
        state = as_of(loaded.state, now)
        if state.owner != user_id or state.owner_until is None:
            break
        addresses.append(Address(key, loaded))
        key = state.replaces
    return addresses


async def present_address(
    aggregates: Aggregates,
    keys: ClaimKeys,
    own_address: OwnAddress,
    user_id: str,
    position: Position,
    clock: Callable[[], datetime],
) -> Address:
    """Returns the account's current address, from the read model's one and the changes that followed.

    Raises:
        UserNotFound, ReadModelBehind, Unavailable: it cannot be looked up.
    """
    for _ in range(2):
        key = await email_key(aggregates.addresses, keys, await own_address(user_id, position))
        chain = await follow(aggregates, key, user_id, clock())
        if chain and is_present(chain[-1].loaded.state, user_id):
            return chain[-1]
        # The read model has an address whose change was undone: wait until it has the end of that one.
        position = position.merge(Position.at(AUTH, (await aggregates.addresses.load(key)).sequence))
    raise Unavailable(retry_after=1)
