"""Keys that encrypt positions for clients: files `positions-<key id>.key` in the folder of secrets, 64 bytes each.

An id begins with the key's creation time, as with access keys (infra/security/key_lifecycle.py): the newest key older
than the lead encrypts, and every key in the folder decrypts. So gateways whose folders are updated one after another
accept each other's positions, and a client may return with a position of any age. Deleting a key invalidates the
positions that it encrypted.
"""

import logging
import re
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from infra.operator_errors import OperatorError
from infra.security.key_lifecycle import KeyState, KeyTerms, key_states, new_key_id
from infra.security.secret_files import locked, replace

log = logging.getLogger(__name__)
# Seconds between two checks of the folder.
_LOOK_EVERY = 1.0
# AES-256-SIV takes two keys of 256 bits.
_KEY_BYTES = 64
_NAME = re.compile(r"positions-(?P<id>\d{8}T\d{6}Z-(?P<tag>[0-9a-f]{8}))\.key\Z")
TAG_BYTES = 4


class NoPositionKey(OperatorError):
    """There is no key to encrypt positions with, or none can be created."""


class PositionKey(msgspec.Struct, frozen=True):
    # The end of the key's id: the prefix of every position that it encrypted.
    tag: bytes
    cipher: AESSIV


class PositionKeys:
    """The current keys for a long-running process; reads the folder at most once a second, or for an unknown tag."""

    def __init__(
        self,
        folder: Path,
        terms: KeyTerms,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Raises:
            NoPositionKey: there is none.
        """
        self._folder = folder
        self._terms = terms
        self._clock = clock
        self._monotonic = monotonic
        self._keys: dict[str, PositionKey] = {}
        self._by_tag: dict[bytes, PositionKey] = {}
        self._current: PositionKey | None = None
        self._looked = float("-inf")
        self.current()

    def current(self) -> PositionKey:
        """The key to encrypt with; a different object after a rotation. Unchanged while the folder cannot be read.

        Raises:
            NoPositionKey: no key was ever read.
        """
        if self._monotonic() - self._looked >= _LOOK_EVERY:
            self._look()
        if self._current is None:
            raise NoPositionKey(f"no positions-*.key in {self._folder}; `vestnik keys rotate-positions` creates one")
        return self._current

    def find(self, tag: bytes) -> PositionKey | None:
        """The key with the tag, including one that another process has just created; None if there is none."""
        if self._monotonic() - self._looked >= _LOOK_EVERY or tag not in self._by_tag:
            self._look()
        return self._by_tag.get(tag)

    def _look(self) -> None:
        self._looked = self._monotonic()
        try:
            ids = key_ids(self._folder)
            added = {key_id: _load(self._folder, key_id) for key_id in ids if key_id not in self._keys}
        except (OSError, ValueError) as error:
            log.warning("the keys of positions cannot be read: %s", error)
            return
        if not ids:
            if self._keys:
                log.warning("no keys of positions are left in %s", self._folder)
            return
        self._keys = {key_id: self._keys.get(key_id) or added[key_id] for key_id in ids}
        self._by_tag = {key.tag: key for key in self._keys.values()}
        stands = key_states(ids, self._terms, self._clock())
        self._current = self._keys[next(key.key_id for key in stands if key.state is KeyState.SIGNING)]


def key_ids(folder: Path) -> list[str]:
    """The ids of the keys in the folder, oldest first."""
    return sorted(match["id"] for path in folder.glob("positions-*.key") if (match := _NAME.match(path.name)))


def rotate(folder: Path, now: datetime, *, at_once: bool = False) -> str:
    """Adds a key that encrypts after the lead, or creates the first; returns its id. `at_once`: deletes all others.

    Raises:
        NoPositionKey: the folder is not writable.
    """
    try:
        with locked(folder):
            before = key_ids(folder)
            new_key = make(folder, now)
            if at_once:
                for key_id in before:
                    _path(folder, key_id).unlink()
            return new_key
    except OSError as error:
        raise NoPositionKey(f"cannot create a key in {folder}: {error.strerror}") from error


def make(folder: Path, now: datetime) -> str:
    """Creates a key and returns its id. The caller holds the folder's lock."""
    key_id = new_key_id(now, secrets.token_hex(TAG_BYTES))
    replace(_path(folder, key_id), secrets.token_bytes(_KEY_BYTES))
    return key_id


def _load(folder: Path, key_id: str) -> PositionKey:
    content = _path(folder, key_id).read_bytes()
    if len(content) != _KEY_BYTES:
        raise ValueError(f"{_path(folder, key_id).name} has {len(content)} bytes instead of {_KEY_BYTES}")
    return PositionKey(bytes.fromhex(key_id[-2 * TAG_BYTES :]), AESSIV(content))


def _path(folder: Path, key_id: str) -> Path:
    return folder / f"positions-{key_id}.key"
