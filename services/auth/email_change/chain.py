"""Loads the chain of an account's addresses: from one of them through those that replaced it to the present one."""

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
