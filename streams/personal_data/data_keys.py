"""Data keys, ready for use: looked up a batch at a time, unwrapped, and cached for a bounded time."""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from contracts.errors import KeysUnavailable
from contracts.personal_data.key_ids import wrapped_by
from streams.lru_cache import LruCache
from streams.personal_data import cipher
from streams.personal_data.key_store import UNREADABLE_RECORD, KeyRecord, KeyRecords
from streams.personal_data.metrics import MASTER_KEY, unavailable, undecipherable

# Seconds for which a cached key is used, with the keys that it has unwrapped. So long after a key's destruction a
# process may still read with it, and so long a process reads without the store. It leaves the cache within as many
# seconds more.
CACHE_SECONDS = 30.0
# A key takes about 2.7 KiB of memory.
CACHED_KEYS = 10_000


class MasterKey(Protocol):
    @property
    def tag(self) -> bytes: ...

    @property
    def cipher(self) -> AESGCM: ...


class MasterKeys(Protocol):
    """The ring of keys that wrap the keys of persons."""

    def current(self) -> MasterKey:
        """The key that wraps new keys."""

    def find(self, tag: bytes) -> MasterKey | None:
        """The key with the tag."""


class _Cached(NamedTuple):
    # None: the key was destroyed.
    key: AESGCM | None
    # On the monotonic clock.
    until: float


class DataKeys:
    """Looks keys up in the store, and keeps them for some seconds."""

    def __init__(
        self,
        store: KeyRecords,
        master_keys: MasterKeys,
        *,
        seconds: float = CACHE_SECONDS,
        capacity: int = CACHED_KEYS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`seconds`: for which a cached key is used."""
        self._store = store
        self._master_keys = master_keys
        self._seconds = seconds
        self._clock = clock
        self._cache: LruCache[str, _Cached] = LruCache(capacity)
        self._sweep_timer: asyncio.TimerHandle | None = None

    async def find(self, key_ids: Collection[str]) -> dict[str, AESGCM | None]:
        """Finds all these keys, by id; None for a key that was destroyed.

        Raises:
            KeysUnavailable: the store does not answer, or a key or its master key is missing. A retry makes sense.
            Undecipherable: one of the ids is no key id, or what is stored of a key is malformed or cannot be unwrapped.
        """
        return await self._find(key_ids, required=True)

    async def look_up(self, key_ids: Collection[str]) -> dict[str, AESGCM | None]:
        """As `find`, without the keys that the store does not have.

        Raises:
            KeysUnavailable: also where `find` raises Undecipherable: nothing can be sealed with such a key.
        """
        try:
            return await self._find(key_ids, required=False)
        except cipher.Undecipherable as error:
            raise KeysUnavailable from error

    async def _find(self, key_ids: Collection[str], *, required: bool) -> dict[str, AESGCM | None]:
        begun = self._clock()
        known = {key_id: cached for key_id in key_ids if (cached := self._cached(key_id, begun)) is not None}
        if missing := [key_id for key_id in key_ids if key_id not in known]:
            fresh = await self._read(missing, begun, required=required)
            for key_id, cached in fresh.items():
                self._cache.put(key_id, cached)
            self._sweep_later()
            known |= {key_id: fresh[key_id] for key_id in missing if key_id in fresh}
        return {key_id: cached.key for key_id, cached in known.items()}

    def _cached(self, key_id: str, now: float) -> _Cached | None:
        cached = self._cache.get(key_id)
        return cached if cached is not None and now < cached.until else None

    def _sweep_later(self) -> None:
        if self._sweep_timer is None and len(self._cache):
            self._sweep_timer = asyncio.get_running_loop().call_later(self._seconds, self._sweep)

    def _sweep(self) -> None:
        """Drops expired keys, so that none stays in memory merely because nothing requests it."""
        self._sweep_timer = None
        now = self._clock()
        self._cache.discard_if(lambda cached: cached.until <= now)
        self._sweep_later()

    async def _read(self, key_ids: list[str], begun: float, *, required: bool) -> dict[str, _Cached]:
        """The keys from the store, with those of persons that wrap them and are not cached."""
        try:
            wrappers = {key_id: wrapper for key_id in key_ids if (wrapper := wrapped_by(key_id)) is not None}
        except ValueError as error:
            raise undecipherable(f"an event names a key that is none: {error}") from error
        persons = {
            person: cached
            for person in dict.fromkeys(wrappers.values())
            if (cached := self._cached(person, begun)) is not None
        }
        destroyed = {person for person, cached in persons.items() if cached.key is None}
        asked = [person for person in wrappers.values() if person not in persons]
        asked += [key_id for key_id in key_ids if wrappers.get(key_id) not in destroyed]
        records = await self._store.find(list(dict.fromkeys(asked)), required=required) if asked else {}
        # The time of the request counts: what was read may be as old.
        until = begun + self._seconds
        for key_id, record in records.items():
            # Also of a cached person, if the store lacks a key that this one wraps.
            if key_id not in wrappers:
                persons[key_id] = _Cached(self._person(key_id, record), until)
        keys = dict(persons)
        for key_id, wrapper in wrappers.items():
            person, stored = persons.get(wrapper), records.get(key_id)
            if (person is not None and person.key is None) or (stored is not None and stored.destroyed_at):
                keys[key_id] = _Cached(None, until)
            elif stored is not None and person is not None and person.key is not None:
                # No longer than the person's key: its destruction is this one's.
                keys[key_id] = _Cached(AESGCM(_unwrapped(person.key, stored, key_id)), person.until)
        return keys

    def _person(self, key_id: str, record: KeyRecord) -> AESGCM | None:
        if record.destroyed_at is not None:
            return None
        return AESGCM(_unwrapped_person(key_id, record, self._master_keys))


def unwrap_person(key_id: str, record: KeyRecord, master_keys: MasterKeys) -> bytes:
    """The key of a person from its record, which must not be a tombstone.

    Raises:
        KeysUnavailable: the master key is missing, or another one wrapped the key.
    """
    try:
        return _unwrapped_person(key_id, record, master_keys)
    except cipher.Undecipherable as error:
        raise KeysUnavailable from error


def _unwrapped_person(key_id: str, record: KeyRecord, master_keys: MasterKeys) -> bytes:
    """As `unwrap_person`, but raises Undecipherable where another master key wrapped the key, or the record is none."""
    _assert_readable(key_id, record)
    try:
        tag = bytes.fromhex(record.kek)
    except ValueError as error:
        raise undecipherable(f"the record of the key {key_id} names no master key") from error
    master = master_keys.find(tag)
    if master is None:
        raise unavailable(MASTER_KEY, f"the master key with the tag {record.kek}, which wraps {key_id}, is missing")
    return _unwrapped(master.cipher, record, key_id)


def _unwrapped(wrapping_key: AESGCM, record: KeyRecord, key_id: str) -> bytes:
    _assert_readable(key_id, record)
    try:
        return cipher.unwrap(wrapping_key, record.kek, key_id, record.wrapped)
    except cipher.Undecipherable as error:
        raise undecipherable(f"the key {key_id} was not wrapped by {record.kek}") from error


def _assert_readable(key_id: str, record: KeyRecord) -> None:
    if record is UNREADABLE_RECORD:
        raise undecipherable(f"the record of the key {key_id} is malformed")
