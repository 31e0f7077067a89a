"""Keys and passwords of a deployment: files in one folder, created once, readable by their owner alone.

`vestnik up` creates the missing ones; a deployment gives each service only the files that it needs. All of them are
random, and none appears anywhere else: in no event, no log, no error.
"""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from contracts.services import REGISTRY, SERVICES
from infra.durable_files import replace as _replace
from infra.operator_errors import OperatorError
from infra.security import access_keys, position_keys, sealing_keys
from infra.security.access_keys import SigningKeys
from infra.security.key_lifecycle import KeyTerms
from infra.security.notary import keys as notary_keys
from infra.security.notary.keys import NotaryKeys
from infra.security.position_keys import PositionKeys
from infra.security.sealing_keys import SealingKeys
from infra.security.secret_files import load as _load
from infra.security.secret_files import locked as _locked
from infra.security.secret_files import private_pem as _private_pem

TOPOLOGY = "topology"
PARTIES = tuple(REGISTRY)
# Parties with a user at the NATS server: all of them, and `topology`, which creates the streams and does nothing else.
NATS_PARTIES = (*PARTIES, TOPOLOGY)
# Parties with a login at PostgreSQL; the gateway needs none.
DATABASE_PARTIES = SERVICES
_RANDOM = ("claims", "refresh", "mail", "limits", "password", "devices", "logs")
_PASSWORDS = (
    "postgres",
    *(f"postgres-{party}" for party in DATABASE_PARTIES),
    *(f"nats-{party}" for party in NATS_PARTIES),
)


class MissingSecret(OperatorError):
    """A key or a password that this process needs is missing."""


class Secrets:
    """The folder of secrets; a file is read on first use and cached."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, bytes] = {}

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(folder)

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Creates the missing files and keeps existing ones; safe to run in several processes at once."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(folder):
            for name in _RANDOM:
                _write_once(folder / f"{name}.key", secrets.token_bytes(32))
            for name in _PASSWORDS:
                _write_once(folder / f"{name}.password", secrets.token_hex(24).encode())
            for party in PARTIES:
                _write_once(folder / f"service-{party}.pem", _private_pem(Ed25519PrivateKey.generate()))
            if not access_keys.key_ids(folder):
                access_keys.make(folder, datetime.now(UTC))
            if not notary_keys.key_ids(folder):
                notary_keys.make(folder, datetime.now(UTC))
            for files in (position_keys.FILES, sealing_keys.TOTP, sealing_keys.PERSONAL_DATA):
                if not files.ids(folder):
                    files.make(folder, datetime.now(UTC))
            _publish(folder)
        return cls(folder)

    @property
    def claims_key(self) -> bytes:
        """HMAC key for the digest that replaces an e-mail address or a username in a subject."""
        return self._file("claims.key")

    @property
    def refresh_key(self) -> bytes:
        """Signs refresh tokens."""
        return self._file("refresh.key")

    @property
    def mail_key(self) -> bytes:
        """Signs the tokens in verification mails."""
        return self._file("mail.key")

    @property
    def password_key(self) -> bytes:
        """Key of the digest of a password that is passed to bcrypt; for auth alone. Without it no password is valid."""
        return self._file("password.key")

    @property
    def devices_key(self) -> bytes:
        """Signs the tokens of devices that have logged in."""
        return self._file("devices.key")

    @property
    def limits_key(self) -> bytes:
        """Key of the digests under which the gateways jointly count addresses and accounts."""
        return self._file("limits.key")

    @property
    def logs_key(self) -> bytes | None:
        """Key of the digests that stand for users in the logs of every process; None: this process has none."""
        try:
            return self._file("logs.key")
        except MissingSecret:
            return None

    def position_keys(self, terms: KeyTerms) -> PositionKeys:
        """The keys that encrypt positions for clients; for the gateways alone."""
        return PositionKeys(self._folder, terms)

    def totp_key_files(self) -> dict[str, bytes]:
        """The content of each key file that seals secrets of authenticator apps, by name."""
        return sealing_keys.TOTP.contents(self._folder)

    def totp_keys(self, terms: KeyTerms) -> SealingKeys:
        """The keys that seal the secrets of authenticator apps; for auth alone."""
        return SealingKeys(sealing_keys.TOTP, self._folder, terms)

    def personal_data_keys(self, terms: KeyTerms) -> SealingKeys:
        """The master keys of personal data; for the services that read it."""
        return SealingKeys(sealing_keys.PERSONAL_DATA, self._folder, terms)

    def nats_password(self, party: str) -> str:
        """The password of the party's user at the NATS server."""
        return self._file(f"nats-{party}.password").decode()

    def nats_passwords(self) -> dict[str, str]:
        """The passwords of all users of the NATS server, for its configuration."""
        return {party: self.nats_password(party) for party in NATS_PARTIES}

    @property
    def postgres_password(self) -> str:
        """The password of the superuser of the server that `vestnik up` runs."""
        return self._file("postgres.password").decode()

    def database_password(self, party: str) -> str:
        """The password of the party's login at PostgreSQL."""
        return self._file(f"postgres-{party}.password").decode()

    def database_passwords(self) -> dict[str, str]:
        """The passwords of all logins, for creating them."""
        return {party: self.database_password(party) for party in DATABASE_PARTIES}

    def signing_keys(self, terms: KeyTerms) -> SigningKeys:
        """The private keys that sign access tokens; for the session service alone."""
        return SigningKeys(self._folder, terms)

    def notary_keys(self) -> NotaryKeys:
        """The keys that sign tree heads; for the notary alone."""
        return NotaryKeys(self._folder)

    @property
    def jwks_path(self) -> Path:
        """The JWK set (JSON) of access tokens' public keys, which every gateway serves and verifies with."""
        return self._folder / access_keys.JWKS

    def service_key(self, party: str, *, fresh: bool = False) -> Ed25519PrivateKey:
        """The private key that proves a party's identity to the services; `fresh`: re-reads the file."""
        return self._private(f"service-{party}.pem", fresh=fresh)

    def service_public_keys(self, *, fresh: bool = False) -> dict[str, list[Ed25519PublicKey]]:
        """The public keys of all parties: the current one and, after a rotation, the previous one."""
        keys: dict[str, list[Ed25519PublicKey]] = {}
        published = msgspec.json.decode(self._file("services.json", fresh=fresh), type=dict[str, str | list[str]])
        for party, pems in published.items():
            for pem in [pems] if isinstance(pems, str) else pems:
                key = serialization.load_pem_public_key(pem.encode())
                assert isinstance(key, Ed25519PublicKey)
                keys.setdefault(party, []).append(key)
        return keys

    def rotate_service_keys(self) -> None:
        """Gives every party a new key, without a restart. Tokens of the previous key are valid until the next rotation.

        Verifiers know a new key before anyone signs with it: the services keep working wherever this is interrupted.
        """
        with _locked(self._folder):
            keys = {party: Ed25519PrivateKey.generate() for party in PARTIES}
            for party in PARTIES:
                _replace(
                    self._folder / f"service-{party}.previous.pem", _public_pem(self.service_key(party, fresh=True))
                )
            _publish(self._folder, {party: _public_pem(key).decode() for party, key in keys.items()})
            for party, key in keys.items():
                _replace(self._folder / f"service-{party}.pem", _private_pem(key))
            _publish(self._folder)

    def _private(self, name: str, *, fresh: bool = False) -> Ed25519PrivateKey:
        key = serialization.load_pem_private_key(self._file(name, fresh=fresh), password=None)
        assert isinstance(key, Ed25519PrivateKey)
        return key

    def _file(self, name: str, *, fresh: bool = False) -> bytes:
        if fresh or name not in self._read:
            try:
                self._read[name] = (self._folder / name).read_bytes()
            except FileNotFoundError as error:
                raise MissingSecret(f"{self._folder / name} does not exist; `vestnik up` creates it") from error
        return self._read[name]


def replace_claims_key(folder: Path, key: bytes) -> None:
    """Replaces the claims key; only valid if no claim was ever made with the previous one."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(folder):
        _replace(folder / "claims.key", key)


def _publish(folder: Path, coming: Mapping[str, str] | None = None) -> None:
    """Writes the public halves: the JWK set of access keys, and the services' keys, including the `coming` ones."""
    access_keys.publish(folder)
    public_pems: dict[str, list[str]] = {}
    for party in PARTIES:
        previous = folder / f"service-{party}.previous.pem"
        known = [_public_pem(_load(folder / f"service-{party}.pem")).decode()]
        known += [previous.read_text()] if previous.exists() else []
        known += [coming[party]] if coming else []
        public_pems[party] = list(dict.fromkeys(known))
    _replace(folder / "services.json", msgspec.json.encode(public_pems))


def _public_pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _write_once(path: Path, content: bytes) -> None:
    if not path.exists():
        _replace(path, content)
