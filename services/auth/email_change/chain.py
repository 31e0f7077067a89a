"""Loads the chain of an account's addresses: those that it has left, each with its successor, and the present one."""

from datetime import datetime

import msgspec

from contracts.events.user import AddressState
from services.auth.email_change.decisions import MOST_CHANGES
from services.auth.registration.decisions import as_of
from services.auth.repositories import Aggregates
from streams.repository import LoadedAggregate


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


async def earlier(
    aggregates: Aggregates, present: AddressState, user_id: str, now: datetime
) -> list[tuple[str, AddressState]]:
    """Returns the addresses that the account has left and that are still its own, with their keys, the last first."""
    addresses: list[tuple[str, AddressState]] = []
    key = present.replaces
    while key and len(addresses) < MOST_CHANGES:
        state = as_of((await aggregates.addresses.load(key)).state, now)
        if state.owner != user_id or state.owner_until is None:
            break
        addresses.append((key, state))
        key = state.replaces
    return addresses
