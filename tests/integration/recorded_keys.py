"""A record of keys and a master key in the test's memory, for tests of the store alone."""

from collections.abc import Collection

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from contracts.errors import KeysUnavailable
from infra.security.key_ring import Key
from streams.personal_data import cipher


class Recorded:
    """As RecordedKeys of auth, for keys of which none was destroyed."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    async def known(self, key_ids: Collection[str]) -> set[str]:
        return self.keys.intersection(key_ids)

    async def record(self, key_ids: Collection[str]) -> None:
        self.keys.update(key_ids)


class Ring:
    """A ring with one master key."""

    def __init__(self) -> None:
        self.key = Key(b"tag1", AESGCM(cipher.new_key()))

    def current(self) -> Key[AESGCM]:
        return self.key

    def find(self, tag: bytes) -> Key[AESGCM] | None:
        return self.key if tag == self.key.tag else None


class LateKeys:
    """Keys that cannot be had at first."""

    key: AESGCM | None = None

    async def find(self, key_ids: set[str], /) -> dict[str, AESGCM | None]:
        if self.key is None:
            raise KeysUnavailable
        return dict.fromkeys(key_ids, self.key)


RING = Ring()
