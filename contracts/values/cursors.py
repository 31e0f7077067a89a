"""Cursors of paginated lists: the start of the next page, opaque to clients (base64url of a small struct in JSON)."""

import base64
import binascii
from typing import TypeVar

import msgspec

from contracts.errors import Invalid, Violation

C = TypeVar("C", bound=msgspec.Struct)

_LONGEST = 1024


def encode_cursor(cursor: msgspec.Struct) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).rstrip(b"=").decode()


def decode_cursor(text: str, kind: type[C]) -> C | None:
    """Decodes the output of `encode_cursor`; an empty text (None) is the first page.

    Raises:
        Invalid: the text is not a cursor of this list.
    """
    if not text:
        return None
    try:
        if len(text) > _LONGEST:
            raise ValueError("too long")
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(raw, type=kind)
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        violations = (Violation("/cursor", "Not a cursor of this list"),)
        raise Invalid("The cursor is not valid.", violations=violations) from error
