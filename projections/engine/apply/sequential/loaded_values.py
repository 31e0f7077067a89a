"""The values of looked-up rows that a batch changes: as they would be loaded, had they been written before."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from projections.engine.storage.pg_text import MOMENTS, UnsupportedValue, json_of, to_pg_text

# Types of key columns: equal keys have equal texts or numbers, whose order is the database's.
KEY_TYPES = frozenset(
    {"bigint", "character varying", "date", "integer", "smallint", "text", MOMENTS, "uuid"},
)


# As UUIDs are loaded.
_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def _instance_of(kind: type) -> Callable[[Any], object]:
    def checked(value: object) -> object:
        # Each datetime is a date as well, and loses its time in such a column.
        if type(value) is not kind:
            raise TypeError
        return value

    return checked


def _moment(value: datetime) -> datetime:
    to_pg_text(value)
    return value.astimezone(UTC)


_LOADED: dict[str, Callable[[Any], object]] = {
    "bigint": lambda value: int(_text(value)),
    "boolean": _instance_of(bool),
    "bytea": _instance_of(bytes),
    "character varying": to_pg_text,
    "date": _instance_of(date),
    "double precision": lambda value: float(_text(value)),
    "integer": lambda value: int(_text(value)),
    "interval": _instance_of(timedelta),
    "json": lambda value: msgspec.json.decode(json_of(value) or ""),
    "jsonb": lambda value: msgspec.json.decode(json_of(value) or ""),
    "numeric": lambda value: Decimal(_text(value)),
    "smallint": lambda value: int(_text(value)),
    "text": to_pg_text,
    "timestamp without time zone": lambda value: _moment(value).replace(tzinfo=None),
    MOMENTS: _moment,
    "uuid": lambda value: value if type(value) is str and _UUID.fullmatch(value) else str(UUID(_text(value))),
}


def is_immutable(kind: str) -> bool:
    """Whether values of the type cannot be changed in place."""
    return kind not in ("json", "jsonb") and not kind.endswith("[]")


def is_known(kind: str) -> bool:
    """Whether values of the type, or of arrays of it, are the same in memory as after they were loaded."""
    return kind.removesuffix("[]") in _LOADED


def as_loaded(value: object, kind: str) -> object:
    """The value as it would be loaded from a column of the type, which `is_known`.

    Raises:
        UnsupportedValue: it does not fit, or the database might change it.
    """
    if value is None or (kind == "uuid" and type(value) is str and _UUID.fullmatch(value)):
        return value
    is_list = isinstance(value, list | tuple)
    if kind.endswith("[]") and is_list:
        return [as_loaded(item, kind.removesuffix("[]")) for item in value]  # type: ignore[attr-defined]  # a list
    try:
        if kind.endswith("[]") or (is_list and kind not in ("json", "jsonb")):
            raise TypeError
        return _LOADED[kind](value)
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        raise UnsupportedValue(f"{value!r} is not a {kind}, so it cannot be looked up") from error


def _text(value: object) -> str:
    return to_pg_text(value) or ""
