"""Cursors of paginated lists: the start of the next page, opaque to clients (base64url of a small struct in JSON)."""

from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from contracts.errors import Invalid, Violation
from contracts.values import base64url

C = TypeVar("C", bound=msgspec.Struct)

_LONGEST = 1024


def encode_cursor(cursor: msgspec.Struct) -> str:
    return base64url.encode(msgspec.json.encode(cursor))


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
        return _in_utc(msgspec.json.decode(base64url.decode(text), type=kind))
    except (msgspec.DecodeError, ValueError, OverflowError) as error:
        violations = (Violation("/cursor", "Not a cursor of this list"),)
        raise Invalid("The cursor is not valid.", violations=violations) from error


def _in_utc(cursor: C) -> C:
    """The cursor with its times in UTC: PostgreSQL refuses offsets that Python accepts.

    Raises:
        ValueError, OverflowError: a time has no zone, or is outside of the years 1 to 9999 in UTC.
    """
    moments: dict[str, datetime] = {}
    for name, value in msgspec.structs.asdict(cursor).items():
        if isinstance(value, datetime):
            if value.tzinfo is None:
                raise ValueError("without a zone")
            moments[name] = value.astimezone(UTC)
    return msgspec.structs.replace(cursor, **moments) if moments else cursor
