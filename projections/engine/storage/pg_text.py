"""Encodes values in PostgreSQL's text form, one column of a batch at a time: as an array literal, or as COPY lines.

This costs a fraction of adapting every value separately. The column's type refuses values that do not fit.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import Any
from uuid import UUID

import msgspec
from psycopg import errors

# The catalog's name for the type of timestamp columns.
MOMENTS = "timestamp with time zone"

_MICROSECOND = timedelta(microseconds=1)
# The errors of a value that has the right type and no text: a time before year 1, too many digits, a lone surrogate,
# endlessly nested lists.
_NO_TEXT = (ArithmeticError, RecursionError, ValueError)
_IN_ARRAYS = (("\\", "\\\\"), ('"', '\\"'))
_IN_LINES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))


class UnsupportedValue(ValueError):
    """A value cannot be stored in a column."""


# The errors of a row that PostgreSQL refuses: bad data, a constraint, a row twice in a statement, a value too large,
# JSON nested too deeply.
REFUSALS = (
    errors.DataError,
    errors.IntegrityError,
    errors.CardinalityViolation,
    errors.ProgramLimitExceeded,
    errors.StatementTooComplex,
    UnsupportedValue,
)


def to_pg_text(value: object) -> str | None:
    """The value in PostgreSQL's text form; None for NULL.

    Raises:
        UnsupportedValue: no column accepts the value's type, or it is a time without a zone.
    """
    if value is None or type(value) is str:
        return value
    if isinstance(value, Enum):
        return to_pg_text(value.value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return _time(value)
    if isinstance(value, str | int | float | Decimal | UUID):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value // _MICROSECOND} microseconds"
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, Sequence):
        return array([to_pg_text(item) for item in value])
    raise UnsupportedValue(f"a {type(value).__name__} cannot be stored in a column")


def _time(value: datetime) -> str:
    if value.tzinfo is UTC:
        return value.isoformat()
    if value.tzinfo is None:
        raise UnsupportedValue(f"the time {value} has no time zone")
    try:
        return value.astimezone(UTC).isoformat()
    except OverflowError as error:
        raise UnsupportedValue(f"the time {value} is out of range in UTC") from error


def date_in(text: str) -> str:
    """The date that PostgreSQL stores in a `date` column for the text of a time in UTC."""
    return text.partition("T")[0]


def _times(column: Sequence[datetime]) -> list[str]:
    """The texts of times in UTC, via JSON, which has these texts in quotes: all take no longer than two one by one."""
    return msgspec.json.encode(column).decode()[2:-2].split('","')


def json_of(value: object, kind: str = "jsonb") -> str | None:
    """The value as text for a column of type json or jsonb; None for NULL.

    In jsonb the members of a set are sorted, since their order differs between processes. (The text of json stays.)

    Raises:
        UnsupportedValue: the value cannot be encoded as JSON.
    """
    try:
        encoded = _ordered_json(value) if kind == "jsonb" else msgspec.json.encode(value)
        return None if value is None else encoded.decode()
    except (TypeError, *_NO_TEXT) as error:
        raise UnsupportedValue(f"a {type(value).__name__} is not JSON: {error}") from error


def _ordered_json(value: object) -> bytes:
    try:
        return msgspec.json.encode(value, order="deterministic")
    except TypeError:
        # A key that is no text, such as a number or an id.
        return msgspec.json.encode(msgspec.to_builtins(value, str_keys=True, order="deterministic"))


def column_to_pg_text(column: Sequence[Any], kind: str) -> Sequence[str | None]:
    """The values of a column of this type, each as text.

    Raises:
        UnsupportedValue: as `to_pg_text`.
    """
    if kind in ("json", "jsonb"):
        return [json_of(value, kind) for value in column]
    types = set(map(type, column))
    if types <= {str, NoneType}:
        return column
    try:
        if types == {int}:
            return list(map(str, column))
        if types == {datetime} and kind == MOMENTS and {value.tzinfo for value in column} == {UTC}:
            return _times(column)
        return [to_pg_text(value) for value in column]
    except UnsupportedValue:
        raise
    except _NO_TEXT as error:
        raise UnsupportedValue(f"a value cannot be formatted: {error}") from error


def array(texts: Sequence[str | None]) -> str:
    """One array literal; every element is quoted, so none can be read as syntax.

    Raises:
        UnsupportedValue: a text is not valid Unicode.
    """
    texts = _escaped(texts, _IN_ARRAYS)
    if None in texts:
        return "{" + ",".join(["NULL" if text is None else f'"{text}"' for text in texts]) + "}"
    return '{"' + '","'.join(texts) + '"}' if texts else "{}"  # type: ignore[arg-type]  # none of them is None


def copy_lines(columns: Iterable[Sequence[str | None]]) -> list[str]:
    """The rows as COPY lines, without line ends.

    Raises:
        UnsupportedValue: as `array`.
    """
    escaped = []
    for column in columns:
        texts = _escaped(column, _IN_LINES)
        escaped.append(["\\N" if text is None else text for text in texts] if None in texts else texts)
    return list(map("\t".join, zip(*escaped, strict=True)))


def _escaped(texts: Sequence[str | None], escapes: Sequence[tuple[str, str]]) -> Sequence[str | None]:
    """Escapes the texts; searches them joined into one string first, since most need no escapes."""
    joined = "".join(filter(None, texts))
    if not joined.isascii():
        try:
            joined.encode()
        except UnicodeEncodeError as error:
            raise UnsupportedValue(f"a text is not valid Unicode: {error}") from error
    for character, escape in escapes:
        if character in joined:
            texts = [text and text.replace(character, escape) for text in texts]
    return texts
