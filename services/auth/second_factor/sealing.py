"""Seals the secrets of authenticator apps for their events: AES-256-GCM under a key of the deployment, for one user."""

import base64
import logging
import secrets

from cryptography.exceptions import InvalidTag

from contracts.errors import Unavailable
from contracts.events.second_factor import SealedSecret
from infra.security.key_ring import NoKey
from infra.security.sealing_keys import SealingKeys

log = logging.getLogger(__name__)
_NONCE_BYTES = 12
_PURPOSE = b"vestnik totp secret 1\0"
_UNREADABLE = "Codes of this account cannot be checked at the moment; a recovery code can."


class SecretSeal:
    def __init__(self, keys: SealingKeys) -> None:
        self._keys = keys

    def seal(self, user_id: str, secret: str) -> SealedSecret:
        """
        Raises:
            Unavailable: there is no key.
        """
        try:
            key = self._keys.current()
        except NoKey as error:
            log.error("%s", error)
            raise Unavailable("Two-step verification cannot be set up at the moment.") from error
        nonce = secrets.token_bytes(_NONCE_BYTES)
        ciphertext = key.cipher.encrypt(nonce, secret.encode(), _associated_data(user_id))
        return SealedSecret(key=key.tag.hex(), ciphertext=base64.b64encode(nonce + ciphertext).decode())

    def open(self, user_id: str, sealed: SealedSecret) -> str:
        """
        Raises:
            Unavailable: the key is missing or another one. No code counts as wrong for that.
        """
        key = self._keys.find(bytes.fromhex(sealed.key))
        if key is None:
            log.error("the key totp-*-%s.key is missing: the codes of a user cannot be checked", sealed.key)
            raise Unavailable(_UNREADABLE)
        raw = base64.b64decode(sealed.ciphertext)
        try:
            return key.cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _associated_data(user_id)).decode()
        except InvalidTag as error:
            log.error("the key totp-*-%s.key did not seal the secret of a user", sealed.key)
            raise Unavailable(_UNREADABLE) from error

    def renewed(self, user_id: str, sealed: SealedSecret, secret: str) -> SealedSecret:
        """The secret sealed with the current key: itself, unless the keys were rotated."""
        try:
            current = self._keys.current().tag.hex()
        except NoKey:
            return sealed
        return sealed if sealed.key == current else self.seal(user_id, secret)


def _associated_data(user_id: str) -> bytes:
    """The cipher's associated data: it binds the secret to the user."""
    return _PURPOSE + user_id.encode()
