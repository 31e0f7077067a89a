"""Values as PostgreSQL writes them in an array, since a whole column of a batch goes over as one array literal.

Building the text here costs a fraction of adapting every value by itself, and the cast to the column's own type in
the statement refuses what does not fit.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import msgspec

_MICROSECOND = timedelta(microseconds=1)


class Unwritable(ValueError):
    """A value has no place in a column."""


def text_of(value: object) -> str | None:
    """The value in PostgreSQL's text form; None for NULL.

    Raises:
        Unwritable: the value is of a kind that no column takes, or a time without a zone.
    """
    if value is None or type(value) is str:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float | Decimal | UUID):
        return str(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise Unwritable(f"the time {value} has no zone")
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value // _MICROSECOND} microseconds"
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, Sequence):
        return array(text_of(item) for item in value)
    raise Unwritable(f"a {type(value).__name__} has no place in a column")


def json_of(value: object) -> str | None:
    """The value for a column of type json or jsonb; None for NULL."""
    try:
        return None if value is None else msgspec.json.encode(value).decode()
    except TypeError as error:
        raise Unwritable(f"a {type(value).__name__} is no JSON") from error


def array(texts: Iterable[str | None]) -> str:
    """One array literal: every element quoted, so that nothing in it can be taken for syntax."""
    return "{" + ",".join([_element(text) for text in texts]) + "}"


def _element(text: str | None) -> str:
    if text is None:
        return "NULL"
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if '"' in text:
        text = text.replace('"', '\\"')
    return f'"{text}"'
