"""The keys that an export depends on. None of them is in the file, which has a fingerprint of each.

Subjects of claims are keyed by a secret of the deployment. Under another key no one could log in, and every address
and name could be claimed again; with this one and the file, addresses could be tested, also of erased users. With the
keys that sign refresh tokens and mails sessions could be forged, and with the password key the hashes in the file be
guessed.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from pathlib import Path

from infra.operator_errors import OperatorError
from infra.security import sealing_keys
from infra.security.secrets import MissingSecret, Secrets, replace_claims_key

CLAIMS, REFRESH, MAIL, PASSWORD = "claims.key", "refresh.key", "mail.key", "password.key"
_OF: dict[str, Callable[[Secrets], bytes]] = {
    CLAIMS: lambda secrets: secrets.claims_key,
    REFRESH: lambda secrets: secrets.refresh_key,
    MAIL: lambda secrets: secrets.mail_key,
    PASSWORD: lambda secrets: secrets.password_key,
}
_WITHOUT = {
    REFRESH: "all users have to log in again, because their refresh tokens are no longer valid",
    MAIL: "tokens in earlier verification mails are no longer valid; users have to request new ones",
    PASSWORD: "no password is valid any more; all users have to reset theirs by mail",
}


class ClaimsKeyMissing(OperatorError):
    """The key of the claims on addresses and names is not there."""

    def __init__(self, folder: Path, with_backup: bool) -> None:
        backup = "; nor does the backup of the keys have it" if with_backup else ""
        super().__init__(
            f"{folder / CLAIMS} is not the key with which the export's addresses and names are claimed{backup}: with "
            "another one no one could log in. Restore it from the copy of the secrets folder, or import with --keys "
            "FILE, a backup of the keys from the time of the export (`vestnik keys back-up`). No event was imported"
        )


class PasswordsLost(OperatorError):
    """The import would make every password unusable."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder / PASSWORD} is not the key that the export's passwords were hashed with. Restore that key "
            "from the backup of the keys and import again. If it is lost, import with --passwords-lost: then no "
            "password is valid any more, and all users have to reset theirs by mail. No event was imported"
        )


def fingerprint(key: bytes) -> str:
    """Identifies a key without revealing it."""
    return hmac.new(key, b"vestnik export", hashlib.sha256).hexdigest()[:32]


def fingerprints(secrets: Secrets) -> dict[str, str]:
    """Fingerprints, by name, of the keys that are kept beside an export; keys that are missing here are left out."""
    prints: dict[str, str] = {}
    for name, read in _OF.items():
        try:
            prints[name] = fingerprint(read(secrets))
        except MissingSecret:
            continue
    return {**prints, **{name: fingerprint(key) for name, key in secrets.totp_key_files().items()}}


def check_passwords(folder: Path, of_file: Mapping[str, str]) -> None:
    """Checks that the password key in the folder of secrets is the export's.

    Raises:
        PasswordsLost: it is not. An export that is older than this key needs none.
    """
    expected = of_file.get(PASSWORD)
    if expected is not None and fingerprints(Secrets.load(folder)).get(PASSWORD) != expected:
        raise PasswordsLost(folder)


def find_claims_key(
    folder: Path, of_file: Mapping[str, str], *, from_file: bytes | None, from_backup: bytes | None
) -> bytes:
    """Returns the export's claims key: from the file, if it is of a release until 0.3, as given, or from the folder.

    Raises:
        ClaimsKeyMissing: none of them is the right one.
    """
    expected = of_file.get(CLAIMS)
    for key in (from_file, from_backup, claims_key_of(folder)):
        if key is not None and expected in (None, fingerprint(key)):
            return key
    raise ClaimsKeyMissing(folder, from_backup is not None)


def claims_key_of(folder: Path) -> bytes | None:
    """The key of claims in the folder of secrets."""
    try:
        return Secrets.load(folder).claims_key
    except MissingSecret:
        return None


def take_over(folder: Path, claims_key: bytes, of_file: Mapping[str, str]) -> list[str]:
    """Installs the export's claims key in the secrets folder, in place of one that nothing depends on yet.

    Returns remarks on the keys, in sentences.
    """
    notes: list[str] = []
    if claims_key_of(folder) != claims_key:
        replace_claims_key(folder, claims_key)
        notes.append(f"{folder / CLAIMS} is now the export's key: every process of auth needs it")
    present = fingerprints(Secrets.load(folder))
    for name, expected in of_file.items():
        if name.startswith(f"{sealing_keys.TOTP.name}-") and present.get(name) != expected:
            notes.append(
                f"{folder / name} is missing or not the export's: without it users whose authenticator app depends on "
                "it log in with a recovery code only"
            )
        elif name not in present:
            notes.append(f"{name} is not in {folder}, so it could not be compared with the export's")
        elif present[name] != expected:
            notes.append(f"{name} is not the key that the export was made with: {_WITHOUT.get(name, 'see its use')}")
    return notes
