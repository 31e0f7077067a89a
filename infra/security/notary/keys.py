"""Keys of the notary: `notary-<key id>.pem`, and `notary.json`, the JWK set of all keys that have ever signed.

The newest key signs. It is published before its file exists, and a rotation deletes the others: only their public
halves are needed, and those stay published forever, since signed heads do. The set is served together with the heads,
so a new key needs no lead.
"""

import logging
import secrets
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from contracts.values import base64url
from infra.durable_files import replace
from infra.operator_errors import OperatorError
from infra.security.key_lifecycle import made_at, new_key_id
from infra.security.secret_files import load, locked, private_pem

log = logging.getLogger(__name__)
JWKS = "notary.json"
PATTERN = "notary-*.pem"
# Seconds between two checks of the folder.
_CHECK_EVERY = 1.0


class NoNotaryKey(OperatorError):
    """There is no key to sign heads with, or none can be created."""


class NotaryKeys:
    """The keys for a running notary."""

    def __init__(self, folder: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """
        Raises:
            NoNotaryKey: there is none.
        """
        self._folder = folder
        self._monotonic = monotonic
        self._checked_at = float("-inf")
        self._key_id = ""
        self._key: Ed25519PrivateKey | None = None
        self._jwks = b""
        self.current()

    @property
    def jwks(self) -> bytes:
        """The JWK set (JSON) of all keys that have ever signed."""
        self.current()
        return self._jwks

    def current(self) -> tuple[str, Ed25519PrivateKey]:
        """The id and the key that signs. If the folder cannot be read, the key read last stays in use.

        Raises:
            NoNotaryKey: no key was ever read.
        """
        if self._monotonic() - self._checked_at >= _CHECK_EVERY:
            self._checked_at = self._monotonic()
            try:
                self._read()
            except (OSError, ValueError, msgspec.DecodeError, NoNotaryKey) as error:
                if self._key is None:
                    raise NoNotaryKey(f"no key of the notary can be read in {self._folder}: {error}") from error
                log.warning("the folder of the notary's keys cannot be read: %s", error)
        assert self._key is not None
        return self._key_id, self._key

    def public(self, key_id: str) -> Ed25519PublicKey | None:
        """The public half of a key that has ever signed; None if it is not published."""
        jwk = _published(self.jwks).get(key_id)
        if jwk is None:
            return None
        return Ed25519PublicKey.from_public_bytes(base64url.decode(jwk["x"]))

    def _read(self) -> None:
        jwks = (self._folder / JWKS).read_bytes()
        # A key that verifiers cannot know must not sign.
        ids = _sorted(set(key_ids(self._folder)) & set(_published(jwks)))
        if not ids:
            raise NoNotaryKey(f"no published {PATTERN} in {self._folder}")
        if ids[-1] != self._key_id:
            self._key = load(_path(self._folder, ids[-1]))
            if self._key_id:
                log.info("heads are now signed with the key %s", ids[-1])
            self._key_id = ids[-1]
        self._jwks = jwks


def key_ids(folder: Path) -> list[str]:
    """The ids of the private keys, oldest first."""
    return _sorted({path.stem.removeprefix("notary-") for path in folder.glob(PATTERN)})


def make(folder: Path, now: datetime) -> str:
    """Creates a key and returns its id. The caller holds the folder's lock."""
    key, key_id = Ed25519PrivateKey.generate(), new_key_id(now, secrets.token_hex(4))
    path = folder / JWKS
    published = _published(path.read_bytes()) if path.exists() else {}
    published[key_id] = _jwk(key_id, key)
    replace(path, msgspec.json.encode({"keys": list(published.values())}))
    replace(_path(folder, key_id), private_pem(key))
    return key_id


def rotate(folder: Path, now: datetime) -> str:
    """Creates a key that signs from now on, deletes the other private keys, and returns the new one's id.

    Raises:
        NoNotaryKey: the folder is not writable, or its JWK set cannot be read.
    """
    try:
        with locked(folder):
            previous = key_ids(folder)
            key_id = make(folder, now)
            for other in previous:
                _path(folder, other).unlink()
            return key_id
    except (OSError, msgspec.DecodeError) as error:
        raise NoNotaryKey(f"cannot create a key in {folder}: {error}") from error


def _published(jwks: bytes) -> dict[str, dict[str, str]]:
    document = msgspec.json.decode(jwks, type=dict[str, list[dict[str, str]]])
    return {jwk["kid"]: jwk for jwk in document["keys"]}


def _jwk(key_id: str, key: Ed25519PrivateKey) -> dict[str, str]:
    x = base64url.encode(key.public_key().public_bytes_raw())
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": key_id, "use": "sig", "alg": "EdDSA"}


def _sorted(ids: set[str]) -> list[str]:
    return sorted(ids, key=lambda key_id: (made_at(key_id), key_id))


def _path(folder: Path, key_id: str) -> Path:
    return folder / f"notary-{key_id}.pem"
