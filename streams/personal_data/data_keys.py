"""Data keys, ready for use: looked up a batch at a time, unwrapped, and cached for a bounded time."""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from contracts.errors import KeysUnavailable
from contracts.personal_data.key_ids import owner_of, wrapped_by
from streams.lru_cache import LruCache
from streams.personal_data import cipher
from streams.personal_data.key_store import UNREADABLE_RECORD, KeyRecord, KeyRecords
from streams.personal_data.metrics import MASTER_KEY, unavailable, undecipherable

# Seconds for which a cached key is used. So long after a key's destruction a process may still read with it, and so
# long a process reads without the store. It leaves the cache within as many seconds more.
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
        """All these keys, by id; None for a key that was destroyed.

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
        keys: dict[str, AESGCM | None] = {}
        missing = []
        for key_id in key_ids:
            cached = self._cache.get(key_id)
            if cached is not None and begun < cached.until:
                keys[key_id] = cached.key
            else:
                missing.append(key_id)
        if missing:
            fresh = await self._read(missing, required=required)
            # The time of the request counts: what was read may be as old.
            until = begun + self._seconds
            for key_id, key in fresh.items():
                self._cache.put(key_id, _Cached(key, until))
            self._sweep_later()
            keys |= {key_id: fresh[key_id] for key_id in missing if key_id in fresh}
        return keys

    def _sweep_later(self) -> None:
        if self._sweep_timer is None and len(self._cache):
            self._sweep_timer = asyncio.get_running_loop().call_later(self._seconds, self._sweep)

    def _sweep(self) -> None:
        """Drops keys that are not used any more, so that none stays in memory because nothing asks for it."""
        self._sweep_timer = None
        now = self._clock()
        self._cache.discard_if(lambda cached: cached.until <= now)
        self._sweep_later()

    async def _read(self, key_ids: list[str], *, required: bool) -> dict[str, AESGCM | None]:
        """The keys from the store, with those of persons that wrap them."""
        for key_id in key_ids:
            if owner_of(key_id) is None:
                raise undecipherable(f"an event names a key {key_id!r}, which is no key id")
        wrapping = [wrapper for key_id in key_ids if (wrapper := wrapped_by(key_id)) is not None]
        records = await self._store.find(list(dict.fromkeys([*wrapping, *key_ids])), required=required)
        persons = {key_id: self._person(key_id, records[key_id]) for key_id in records if wrapped_by(key_id) is None}
        keys = dict(persons)
        for key_id in key_ids:
            wrapper = wrapped_by(key_id)
            if wrapper is None:
                continue
            record = records.get(key_id)
            if (wrapper in persons and persons[wrapper] is None) or (record is not None and record.destroyed_at):
                keys[key_id] = None
            elif record is not None and (person := persons.get(wrapper)) is not None:
                keys[key_id] = AESGCM(_unwrapped(person, record, key_id))
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
