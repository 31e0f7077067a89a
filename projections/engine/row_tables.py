"""Derives a table from the struct of its rows, for projections that fold."""

import types
import typing
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from uuid import UUID

import msgspec

_COLUMN_TYPES: dict[object, str] = {
    bool: "boolean",
    int: "bigint",
    float: "double precision",
    Decimal: "numeric",
    str: "text",
    bytes: "bytea",
    UUID: "uuid",
    date: "date",
    datetime: "timestamptz",
    timedelta: "interval",
}


def table_of(
    name: str, row: type[msgspec.Struct], *, key: Mapping[str, str], columns: Mapping[str, str] | None = None
) -> str:
    """The `CREATE TABLE` statement for rows of the struct.

    A field that may be None is a nullable column, any other is NOT NULL. Lists and tuples of simple values are arrays,
    structs, dicts and other lists are jsonb.

    `key`: the primary key's columns with their types. `columns`: types of columns, where the derived ones do not fit.

    Raises:
        ValueError: the table or a field cannot be derived.
    """
    hints = typing.get_type_hints(row)
    column_types = columns or {}
    lines = [f'"{column}" {kind}' for column, kind in key.items()]
    for field in row.__struct_fields__:
        kind, is_nullable = _split(hints[field])
        derived = column_types.get(field) or _column_type(kind)
        if derived is None:
            raise ValueError(f"table {name}: no column type follows from {row.__name__}.{field}: name it in `columns`")
        lines.append(f'"{field}" {derived}{"" if is_nullable else " NOT NULL"}')
    if unknown := column_types.keys() - set(row.__struct_fields__):
        raise ValueError(f"table {name}: {row.__name__} has no field {', '.join(sorted(unknown))}")
    # Quoted, since a field may have a name that SQL reserves, such as `order`.
    names = ", ".join(f'"{column}"' for column in key)
    return f"CREATE TABLE {{{name}}} ({', '.join(lines)}, PRIMARY KEY ({names}));\n"


def _split(kind: object) -> tuple[object, bool]:
    """The type without None, and whether it may be None."""
    if typing.get_origin(kind) not in (types.UnionType, typing.Union):
        return kind, False
    parts = typing.get_args(kind)
    others = [part for part in parts if part is not type(None)]
    return (others[0] if len(others) == 1 else kind), len(others) < len(parts)


def _column_type(kind: object) -> str | None:
    if typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if kind in _COLUMN_TYPES:
        return _COLUMN_TYPES[kind]
    origin = typing.get_origin(kind) or kind
    if isinstance(origin, type) and issubclass(origin, Sequence) and not issubclass(origin, str):
        items = [item for item in typing.get_args(kind) if item is not ...]
        item = _column_type(items[0]) if len(set(items)) == 1 else None
        return "jsonb" if item is None or item == "jsonb" or item.endswith("[]") else f"{item}[]"
    if isinstance(origin, type) and issubclass(origin, (msgspec.Struct, Mapping)):
        return "jsonb"
    if isinstance(origin, type) and issubclass(origin, Enum):
        values = {type(member.value) for member in origin}
        return _COLUMN_TYPES.get(values.pop()) if len(values) == 1 else None
    return None
