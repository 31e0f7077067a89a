"""base64url without padding (RFC 4648, section 5): bytes as text for URLs, headers and cookies."""

import binascii
import string

# To the alphabet that binascii knows; its own two characters are refused.
_TO_PLAIN = bytes.maketrans(b"-_+/", b"+/!!")
_TO_SAFE = bytes.maketrans(b"+/", b"-_")
_ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
# By the text's length modulo 4: its padding, and its possible last characters, whose unused bits are 0.
_PADDING = ("", "", "==", "=")
_LAST = (frozenset(_ALPHABET), frozenset[str](), frozenset(_ALPHABET[::16]), frozenset(_ALPHABET[::4]))


def encode(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).translate(_TO_SAFE, b"=").decode()


def decode(text: str) -> bytes:
    """The bytes of which `encode` makes this text.

    Raises:
        ValueError: there are none.
    """
    if not text:
        return b""
    part = len(text) % 4
    if text[-1] not in _LAST[part]:
        raise ValueError("not base64url")
    return binascii.a2b_base64((text + _PADDING[part]).encode("ascii").translate(_TO_PLAIN), strict_mode=True)
