"""Keys that encrypt positions for clients: a key ring (infra/security/key_ring.py) of `positions-<key id>.key`.

A client may return with a position of any age. Deleting a key invalidates the positions that it encrypted.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic as monotonic_time

from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from infra.security.key_lifecycle import KeyTerms
from infra.security.key_ring import Key, KeyFiles, KeyRing

PositionKey = Key[AESSIV]
# AES-256-SIV takes two keys of 256 bits.
FILES = KeyFiles(name="positions", length=64, cipher=AESSIV, command="rotate-positions")


class PositionKeys(KeyRing[AESSIV]):
    """The current keys for a long-running process."""

    def __init__(
        self,
        folder: Path,
        terms: KeyTerms,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = monotonic_time,
    ) -> None:
        """
        Raises:
            NoKey: there is none.
        """
        super().__init__(FILES, folder, terms, clock=clock, monotonic=monotonic)
        self.current()
