"""Signing keys of access tokens, and their rotation without logging anyone out.

A key is a file `access-<key id>.pem`, and its id begins with its creation time, so the state of every key follows from
the file names and the clock alone: *published* (verifiers know it, it does not sign yet), *signing* (the newest that
was published for long enough), *verifying* (tokens that it signed are still valid), *retired*. There is no other state
that could be wrong after a crash. A new key is published before its private half is written, and a retired key is
deleted before its publication ends.
"""

import logging
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.durable_files import replace
from infra.operator_errors import OperatorError
from infra.security.key_lifecycle import AccessKey, KeyState, KeyTerms, key_states, made_at, new_key_id
from infra.security.secret_files import load, locked, private_pem

log = logging.getLogger(__name__)
JWKS = "jwks.json"
# Seconds between two checks of the folder.
_CHECK_SECONDS = 1.0


class NoAccessKey(OperatorError):
    """There is no key to sign access tokens with, or none can be created."""


class AccessKeys:
    """The folder's keys, for commands that change them."""

    def __init__(self, folder: Path, terms: KeyTerms) -> None:
        self._folder = folder
        self._terms = terms

    def listed(self, now: datetime) -> list[AccessKey]:
        """The state of each key, oldest first.

        Raises:
            NoAccessKey: there is none.
        """
        states = key_states(key_ids(self._folder), self._terms, now)
        if not states:
            raise NoAccessKey(f"no access-*.pem in {self._folder}; `vestnik up` creates the first")
        return states

    def rotate(self, now: datetime, *, at_once: bool = False) -> list[AccessKey]:
        """Adds a key that will succeed the current one; returns the new states.

        `at_once`: for a compromised key. The new key signs immediately and all others are deleted: clients have to
        refresh their access tokens, but no one has to log in again.

        Raises:
            NoAccessKey: there is no key to succeed, or the folder is not writable.
        """
        self.listed(now)
        try:
            with locked(self._folder):
                if not at_once:
                    self._tidy(now)
                make(self._folder, now, alone=at_once)
        except OSError as error:
            raise NoAccessKey(f"cannot create a key in {self._folder}: {error.strerror}") from error
        return self.listed(now)

    def tidy(self, now: datetime) -> list[str]:
        """Deletes retired keys; returns their ids."""
        if not any(key.state is KeyState.RETIRED for key in self.listed(now)):
            return []
        with locked(self._folder):
            return self._tidy(now)

    def _tidy(self, now: datetime) -> list[str]:
        retired = [key.key_id for key in self.listed(now) if key.state is KeyState.RETIRED]
        for key_id in retired:
            _path(self._folder, key_id).unlink(missing_ok=True)
        if retired:
            publish(self._folder)
        return retired


class SigningKeys:
    """The current signing key for a long-running process; reads the folder at most once a second."""

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
            NoAccessKey: there is none.
        """
        self._folder = folder
        self._terms = terms
        self._clock = clock
        self._monotonic = monotonic
        self._checked_at = float("-inf")
        self._key_id = ""
        self._key: Ed25519PrivateKey | None = None
        self.current()

    def current(self) -> tuple[str, Ed25519PrivateKey]:
        """The id and the key. If the folder cannot be read, the key read last stays in use.

        Raises:
            NoAccessKey: no key was ever read.
        """
        if self._monotonic() - self._checked_at >= _CHECK_SECONDS:
            self._checked_at = self._monotonic()
            try:
                self._reload()
            except (OSError, ValueError, msgspec.DecodeError, OperatorError) as error:
                if self._key is None:
                    raise NoAccessKey(f"no access key can be read in {self._folder}: {error}") from error
                log.warning("the folder of access keys cannot be read: %s", error)
        assert self._key is not None
        return self._key_id, self._key

    def _reload(self) -> None:
        # A key that verifiers do not know must not sign, whatever is in the folder.
        known = set(key_ids(self._folder)) & published(self._folder)
        states = key_states(known, self._terms, self._clock())
        signing = next((key.key_id for key in states if key.state is KeyState.SIGNING), None)
        if signing is None:
            raise NoAccessKey(f"no published access-*.pem in {self._folder}")
        if signing != self._key_id:
            self._key = load(_path(self._folder, signing))
            if self._key_id:
                log.info("now signing access tokens with the key %s", signing)
            self._key_id = signing


def key_ids(folder: Path) -> list[str]:
    return [path.stem.removeprefix("access-") for path in folder.glob("access-*.pem")]


def published(folder: Path) -> set[str]:
    """The ids of the keys in the JWK set, which verifiers know."""
    document = msgspec.json.decode((folder / JWKS).read_bytes(), type=dict[str, list[dict[str, str]]])
    return {key["kid"] for key in document["keys"]}


def make(folder: Path, now: datetime, *, alone: bool = False) -> str:
    """Creates a key, published before its file exists; `alone`: deletes all others. The caller holds the lock."""
    key, key_id = Ed25519PrivateKey.generate(), new_key_id(now, secrets.token_hex(4))
    before = [] if alone else key_ids(folder)
    _write_jwks(folder, {**{existing: load(_path(folder, existing)) for existing in before}, key_id: key})
    replace(_path(folder, key_id), private_pem(key))
    if alone:
        for existing in key_ids(folder):
            if existing != key_id:
                _path(folder, existing).unlink()
    return key_id


def publish(folder: Path) -> None:
    """Writes the JWK set of all keys in the folder."""
    _write_jwks(folder, {key_id: load(_path(folder, key_id)) for key_id in key_ids(folder)})


def _write_jwks(folder: Path, keys: dict[str, Ed25519PrivateKey]) -> None:
    import jwt  # only here, so that commands start quickly

    described = []
    for key_id, key in sorted(keys.items(), key=lambda item: (made_at(item[0]), item[0])):
        jwk: dict[str, object] = jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
        described.append(jwk | {"kid": key_id, "use": "sig", "alg": "EdDSA"})
    content = msgspec.json.encode({"keys": described})
    path = folder / JWKS
    # An unchanged file keeps its modification time, so readers do not reload it.
    if not path.exists() or path.read_bytes() != content:
        replace(path, content)


def _path(folder: Path, key_id: str) -> Path:
    return folder / f"access-{key_id}.pem"
