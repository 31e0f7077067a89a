"""Keys and passwords of a deployment: files in one folder, made once, readable by their owner alone.

`vestnik up` makes what is missing; a deployment hands each service the files that it needs and no more. Everything
here is derived from nothing and written nowhere else: no event, no log, no error shows any of it.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import jwt
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from infra.failures import Failure
from infra.settings import SERVICES

OPERATOR = "operator"
TOPOLOGY = "topology"
PARTIES = (*SERVICES, "gateway", OPERATOR)
# Who has a user at the NATS server: all of them, and the one that makes the streams and does nothing else.
NATS_PARTIES = (*PARTIES, TOPOLOGY)
_RANDOM = ("claims", "refresh", "mail")
_PASSWORDS = ("postgres", *(f"nats-{party}" for party in NATS_PARTIES))


class MissingSecret(Failure):
    """A key or a password that this process needs is not there."""


class Secrets:
    """The folder of secrets; a file is read when it is first asked for and kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, bytes] = {}

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(folder)

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Makes what is missing and leaves what is there; safe when several processes do it at once."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(folder):
            for name in _RANDOM:
                _write_once(folder / f"{name}.key", secrets.token_bytes(32))
            for name in _PASSWORDS:
                _write_once(folder / f"{name}.password", secrets.token_hex(24).encode())
            for party in PARTIES:
                _write_once(folder / f"service-{party}.pem", _private_pem(Ed25519PrivateKey.generate()))
            if not any(folder.glob("access-*.pem")):
                _write_once(folder / f"access-{secrets.token_hex(4)}.pem", _private_pem(Ed25519PrivateKey.generate()))
            _publish(folder)
        return cls(folder)

    @property
    def claims_key(self) -> bytes:
        """Keys the HMAC that stands for an e-mail address or a username in a subject."""
        return self._file("claims.key")

    @property
    def refresh_key(self) -> bytes:
        """Signs refresh tokens."""
        return self._file("refresh.key")

    @property
    def mail_key(self) -> bytes:
        """Signs the tokens in verification mails."""
        return self._file("mail.key")

    def nats_password(self, party: str) -> str:
        """The password of the party's user at the NATS server."""
        return self._file(f"nats-{party}.password").decode()

    def nats_passwords(self) -> dict[str, str]:
        """The passwords of all users of the NATS server; for whoever configures it."""
        return {party: self.nats_password(party) for party in NATS_PARTIES}

    @property
    def postgres_password(self) -> str:
        return self._file("postgres.password").decode()

    def access_signing_key(self) -> tuple[str, Ed25519PrivateKey]:
        """The key id and the private key that sign access tokens; for the session service alone."""
        path = max(self._folder.glob("access-*.pem"), key=lambda found: found.stat().st_mtime_ns, default=None)
        if path is None:
            raise MissingSecret(f"no access-*.pem in {self._folder}")
        return path.stem.removeprefix("access-"), self._private(path.name)

    def jwks(self) -> bytes:
        """The public keys of access tokens as a JWK set in JSON; what every gateway serves and checks with."""
        return self._file("jwks.json")

    def service_key(self, party: str) -> Ed25519PrivateKey:
        """The private key with which a party proves to the services who it is."""
        return self._private(f"service-{party}.pem")

    def service_public_keys(self) -> dict[str, Ed25519PublicKey]:
        """The public keys of all parties."""
        keys: dict[str, Ed25519PublicKey] = {}
        for party, pem in msgspec.json.decode(self._file("services.json"), type=dict[str, str]).items():
            key = serialization.load_pem_public_key(pem.encode())
            assert isinstance(key, Ed25519PublicKey)
            keys[party] = key
        return keys

    def _private(self, name: str) -> Ed25519PrivateKey:
        key = serialization.load_pem_private_key(self._file(name), password=None)
        assert isinstance(key, Ed25519PrivateKey)
        return key

    def _file(self, name: str) -> bytes:
        if name not in self._read:
            try:
                self._read[name] = (self._folder / name).read_bytes()
            except FileNotFoundError as error:
                raise MissingSecret(f"{self._folder / name} is not there; `vestnik up` makes it") from error
        return self._read[name]


def _publish(folder: Path) -> None:
    """Writes the public halves: the JWK set of access keys and the keys of the services."""
    keys = []
    for path in sorted(folder.glob("access-*.pem")):
        public = _load(path).public_key()
        jwk: dict[str, object] = jwt.algorithms.OKPAlgorithm.to_jwk(public, as_dict=True)
        keys.append(jwk | {"kid": path.stem.removeprefix("access-"), "use": "sig", "alg": "EdDSA"})
    _replace(folder / "jwks.json", msgspec.json.encode({"keys": keys}))
    public_pems = {
        party: _load(folder / f"service-{party}.pem")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
        for party in PARTIES
    }
    _replace(folder / "services.json", msgspec.json.encode(public_pems))


def _load(path: Path) -> Ed25519PrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_once(path: Path, content: bytes) -> None:
    if not path.exists():
        _replace(path, content)


def _replace(path: Path, content: bytes) -> None:
    """Writes so that a reader, or a crash, sees either the old file or the new one, whole."""
    draft = path.with_suffix(path.suffix + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
