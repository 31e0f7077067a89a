"""Rings of symmetric keys: files `<name>-<key id>.key` in the folder of secrets, one ring per purpose.

An id begins with the key's creation time, as with access keys (infra/security/key_lifecycle.py): the newest key older
than the lead encrypts, and every key in the folder decrypts. So processes whose folders are updated one after another
decrypt what the others encrypt. Deleting a key makes unreadable what it encrypted.
"""

import logging
import re
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from infra.durable_files import replace
from infra.operator_errors import OperatorError
from infra.security.key_lifecycle import KeyState, KeyTerms, key_states, new_key_id
from infra.security.secret_files import locked

Cipher = TypeVar("Cipher")

log = logging.getLogger(__name__)
# Seconds between two checks of the folder.
_CHECK_SECONDS = 1.0
TAG_BYTES = 4


class NoKey(OperatorError):
    """There is no key to encrypt with, or none can be created."""


class Key(msgspec.Struct, Generic[Cipher], frozen=True):
    # The random end of the key's id, which names the key beside what it encrypted.
    tag: bytes
    cipher: Cipher


class KeyFiles(msgspec.Struct, Generic[Cipher], frozen=True, kw_only=True):
    """The files of one ring's keys."""

    # Of the files: `positions`.
    name: str
    # Of a key, in bytes.
    length: int
    cipher: Callable[[bytes], Cipher]
    # Command that creates a key.
    command: str

    def ids(self, folder: Path) -> list[str]:
        """The ids of the keys in the folder, oldest first."""
        form = re.compile(rf"{self.name}-(?P<id>\d{{8}}T\d{{6}}Z-[0-9a-f]{{8}})\.key\Z")
        return sorted(match["id"] for path in folder.glob(f"{self.name}-*.key") if (match := form.match(path.name)))

    def make(self, folder: Path, now: datetime) -> str:
        """Creates a key and returns its id. The caller holds the folder's lock."""
        key_id = new_key_id(now, secrets.token_hex(TAG_BYTES))
        replace(self._path(folder, key_id), secrets.token_bytes(self.length))
        return key_id

    def rotate(self, folder: Path, now: datetime, *, at_once: bool = False) -> str:
        """Adds a key that encrypts after the lead, or creates the first; returns its id. `at_once`: deletes all others.

        Raises:
            NoKey: the folder is not writable.
        """
        try:
            with locked(folder):
                before = self.ids(folder)
                new_key = self.make(folder, now)
                if at_once:
                    for key_id in before:
                        self._path(folder, key_id).unlink()
                return new_key
        except OSError as error:
            raise NoKey(f"cannot create a key in {folder}: {error.strerror}") from error

    def load(self, folder: Path, key_id: str) -> Key[Cipher]:
        path = self._path(folder, key_id)
        content = path.read_bytes()
        if len(content) != self.length:
            raise ValueError(f"{path.name} has {len(content)} bytes instead of {self.length}")
        return Key(bytes.fromhex(key_id[-2 * TAG_BYTES :]), self.cipher(content))

    def contents(self, folder: Path) -> dict[str, bytes]:
        """The content of each key's file, by the file's name."""
        paths = [self._path(folder, key_id) for key_id in self.ids(folder)]
        return {path.name: path.read_bytes() for path in paths}

    def _path(self, folder: Path, key_id: str) -> Path:
        return folder / f"{self.name}-{key_id}.key"


class KeyRing(Generic[Cipher]):
    """A ring's current keys for a long-running process.

    Reads the folder at most once a second, or for an unknown tag.
    """

    def __init__(
        self,
        files: KeyFiles[Cipher],
        folder: Path,
        terms: KeyTerms,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = files
        self._folder = folder
        self._terms = terms
        self._clock = clock
        self._monotonic = monotonic
        self._keys: dict[str, Key[Cipher]] = {}
        self._by_tag: dict[bytes, Key[Cipher]] = {}
        self._current: Key[Cipher] | None = None
        self._checked_at = float("-inf")

    def current(self) -> Key[Cipher]:
        """The key to encrypt with; a different object after a rotation. Unchanged while the folder cannot be read.

        Raises:
            NoKey: no key was ever read.
        """
        if self._monotonic() - self._checked_at >= _CHECK_SECONDS:
            self._reload()
        if self._current is None:
            name, command = self._files.name, self._files.command
            raise NoKey(f"no {name}-*.key in {self._folder}; `vestnik keys {command}` creates one")
        return self._current

    def find(self, tag: bytes) -> Key[Cipher] | None:
        """The key with the tag, including one that another process has just created; None if there is none."""
        if self._monotonic() - self._checked_at >= _CHECK_SECONDS or tag not in self._by_tag:
            self._reload()
        return self._by_tag.get(tag)

    def _reload(self) -> None:
        self._checked_at = self._monotonic()
        try:
            ids = self._files.ids(self._folder)
            added = {key_id: self._files.load(self._folder, key_id) for key_id in ids if key_id not in self._keys}
        except (OSError, ValueError) as error:
            log.warning("the keys %s-*.key cannot be read: %s", self._files.name, error)
            return
        if not ids:
            if self._keys:
                log.warning("no %s-*.key are left in %s", self._files.name, self._folder)
            return
        self._keys = {key_id: self._keys.get(key_id) or added[key_id] for key_id in ids}
        self._by_tag = {key.tag: key for key in self._keys.values()}
        states = key_states(ids, self._terms, self._clock())
        self._current = self._keys[next(key.key_id for key in states if key.state is KeyState.SIGNING)]
