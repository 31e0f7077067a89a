"""The key ring of a person: which keys of their data exist, and which were destroyed. Pure decisions."""

from collections.abc import Collection, Iterator, Set
from datetime import datetime
from itertools import chain

import msgspec

from contracts.errors import LegalHold, MessageNotFound, UserNotFound
from contracts.events.data_keys import (
    DataKeysCreated,
    DataKeysDestroyed,
    DataKeysHoldPlaced,
    DataKeysHoldReleased,
)
from contracts.events.event import Event
from contracts.personal_data.key_ids import wrapped_by

# Why keys are destroyed.
ERASURE, RETENTION, REGISTRATION_ENDED, LOSS_ACCEPTED = "erasure", "retention", "registration_ended", "loss_accepted"
# What a legal hold forbids.
_HELD_UP = (ERASURE, RETENTION, REGISTRATION_ENDED)


class KeyIds(Set[str]):
    """An immutable set of ids that grows a little at a time: an addition copies some of them, and rarely all.

    A person has a key for each conversation and month.
    """

    __slots__ = ("_parts",)

    def __init__(self, *parts: frozenset[str]) -> None:
        """`parts`: without ids in common, each larger than the one after it."""
        self._parts = parts

    def __contains__(self, key_id: object) -> bool:
        return any(key_id in part for part in self._parts)

    def __iter__(self) -> Iterator[str]:
        return chain(*self._parts)

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def with_(self, key_ids: Collection[str]) -> "KeyIds":
        """The set with these ids too."""
        parts, last = self._parts, frozenset(key_id for key_id in key_ids if key_id not in self)
        while parts and len(parts[-1]) <= len(last):
            parts, last = parts[:-1], last | parts[-1]
        return KeyIds(*parts, last)


class KeyRing(msgspec.Struct, frozen=True):
    """The keys of one person, by id."""

    # All that were ever made.
    created: KeyIds = KeyIds()
    destroyed: KeyIds = KeyIds()
    # Whether all of them were, and each later one would be.
    all_destroyed: bool = False
    # Whether there is a legal hold.
    held: bool = False

    def is_destroyed(self, key_id: str) -> bool:
        return self.all_destroyed or key_id in self.destroyed or wrapped_by(key_id) in self.destroyed


def evolve(ring: KeyRing, event: Event, at: datetime) -> KeyRing:
    match event:
        case DataKeysCreated(key_ids=key_ids):
            return msgspec.structs.replace(ring, created=ring.created.with_(key_ids))
        case DataKeysDestroyed(key_ids=()):
            return msgspec.structs.replace(ring, all_destroyed=True)
        case DataKeysDestroyed(key_ids=key_ids):
            return msgspec.structs.replace(ring, destroyed=ring.destroyed.with_(key_ids))
        case DataKeysHoldPlaced():
            return msgspec.structs.replace(ring, held=True)
        case DataKeysHoldReleased():
            return msgspec.structs.replace(ring, held=False)
    return ring


def decide_create(ring: KeyRing, key_ids: Collection[str]) -> tuple[Event, ...]:
    """Records new keys; nothing of those that are recorded.

    Raises:
        UserNotFound: the person's key was destroyed.
        MessageNotFound: the key of a month's texts was destroyed.
    """
    for key_id in key_ids:
        if ring.is_destroyed(wrapped_by(key_id) or key_id):
            raise UserNotFound
        if ring.is_destroyed(key_id):
            raise MessageNotFound
    new = tuple(sorted(key_id for key_id in key_ids if key_id not in ring.created))
    return (DataKeysCreated(key_ids=new),) if new else ()


def decide_destroy(ring: KeyRing, key_ids: Collection[str], reason: str) -> tuple[Event, ...]:
    """Destroys the keys, or with no ids all keys of the person; nothing if they were destroyed.

    Raises:
        LegalHold: there is one, and the reason is no accepted loss.
    """
    present = tuple(sorted(key_id for key_id in key_ids if not ring.is_destroyed(key_id)))
    if ring.all_destroyed or (key_ids and not present):
        return ()
    if ring.held and reason in _HELD_UP:
        raise LegalHold
    return (DataKeysDestroyed(key_ids=present, reason=reason),)


def decide_hold(ring: KeyRing, reason: str) -> tuple[Event, ...]:
    """Places a legal hold; nothing if there is one.

    Raises:
        UserNotFound: the person's keys were destroyed.
    """
    if ring.all_destroyed:
        raise UserNotFound
    return () if ring.held else (DataKeysHoldPlaced(reason=reason),)


def decide_release(ring: KeyRing) -> tuple[Event, ...]:
    """Releases the legal hold; nothing if there is none."""
    return (DataKeysHoldReleased(),) if ring.held else ()
