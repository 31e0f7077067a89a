"""AES-256-GCM for personal data and for the keys that seal it.

What is stored is the nonce, the ciphertext and the tag. The additional data binds a sealed text to its key and its
field, and a wrapped key to its id and to the key that wraps it: none can be moved to another one's place. A nonce is 96
random bits, which is good for 2^32 texts of one key.
"""

import binascii
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from contracts.values.personal_data import Sealed

KEY_BYTES = 32
_NONCE_BYTES = 12
_FIELD, _KEY = b"vestnik personal data 1\0", b"vestnik data key 1\0"


class Undecipherable(Exception):
    """The ciphertext was not made with this key, or not for this place."""


def new_key() -> bytes:
    return secrets.token_bytes(KEY_BYTES)


def seal(key: AESGCM, key_id: str, field: str, text: str) -> Sealed:
    """Seals the text of one field: `<event type>/<path>`."""
    return Sealed(key=key_id, ciphertext=_encrypt(key, text.encode(), _associated_data(_FIELD, key_id, field)))


def unseal(key: AESGCM, sealed: Sealed, field: str) -> str:
    """
    Raises:
        Undecipherable: another key sealed it, it is another field's, or no text.
    """
    content = _decrypt(key, sealed.ciphertext, _associated_data(_FIELD, sealed.key, field))
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Undecipherable from error


def wrap(wrapping_key: AESGCM, wrapping_id: str, key_id: str, key: bytes) -> str:
    """The data key, encrypted with another key, in Base64."""
    return _encrypt(wrapping_key, key, _associated_data(_KEY, wrapping_id, key_id))


def unwrap(wrapping_key: AESGCM, wrapping_id: str, key_id: str, wrapped: str) -> bytes:
    """
    Raises:
        Undecipherable: another key wrapped it, or it is another key.
    """
    return _decrypt(wrapping_key, wrapped, _associated_data(_KEY, wrapping_id, key_id))


def _encrypt(key: AESGCM, content: bytes, about: bytes) -> str:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return binascii.b2a_base64(nonce + key.encrypt(nonce, content, about), newline=False).decode()


def _decrypt(key: AESGCM, ciphertext: str, about: bytes) -> bytes:
    try:
        raw = binascii.a2b_base64(ciphertext, strict_mode=True)
        return key.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], about)
    except (InvalidTag, ValueError) as error:
        # ValueError: fewer bytes than a nonce and a tag.
        raise Undecipherable from error


def _associated_data(purpose: bytes, first: str, second: str) -> bytes:
    return purpose + f"{first}\0{second}".encode()
