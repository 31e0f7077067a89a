"""Keys of rows that are loaded: their comparable form, and the statement that loads rows by them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import nullcontext
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TypeVar

from psycopg import sql
from psycopg.pq import TransactionStatus

from projections.engine.apply.merging.call_plans import Key
from projections.engine.changes import Values
from projections.engine.storage.builds import Connection
from projections.engine.storage.pg_text import REFUSALS, UnsupportedValue, date_in, to_pg_text
from projections.engine.storage.tables import Table

Rows = TypeVar("Rows")

_WHOLE_NUMBERS = {"smallint", "integer", "bigint"}


def key_of(table: Table, columns: Sequence[str], values: Values) -> Key:
    """The values in the order of the key's columns, in the form in which equal keys are equal.

    Raises:
        UnsupportedValue: the values are not those of the columns.
    """
    try:
        key = tuple([_key_value(column, values[column], table.types[column]) for column in columns])
    except KeyError as error:
        raise UnsupportedValue(f"{table.name}: the key lacks {error}") from error
    if len(values) != len(key):
        raise UnsupportedValue(f"{table.name}: the key is {', '.join(columns)}")
    return key


def select_by_keys(table: Table, key: Sequence[str], columns: Sequence[str]) -> bytes:
    """Selects, for each key or prefix of it, its number from 1 and the columns of its rows.

    The parameters are texts, one array for each column of the key.
    """
    kinds = tuple([table.types[column] for column in key])
    return _select(table.physical, tuple(key), kinds, tuple(columns))


async def load_by_keys(
    conn: Connection, keys: Sequence[Key], load: Callable[[Connection, Sequence[Key]], Awaitable[Rows]]
) -> AsyncIterator[tuple[Sequence[Key], Rows | Exception]]:
    """Loads the rows of all keys at once; a key that PostgreSQL refuses is yielded alone, with its error."""
    pending = [keys]
    while pending:
        piece = pending.pop()
        # A refusal must leave the caller's transaction usable.
        is_idle = conn.info.transaction_status is TransactionStatus.IDLE
        try:
            async with nullcontext() if is_idle else conn.transaction():
                rows = await load(conn, piece)
        except REFUSALS as refusal:
            if len(piece) == 1:
                yield piece, refusal
            else:
                half = len(piece) // 2
                pending += [piece[half:], piece[:half]]
        else:
            yield piece, rows


@lru_cache(maxsize=1_000)
def _select(physical: str, key: tuple[str, ...], kinds: tuple[str, ...], columns: tuple[str, ...]) -> bytes:
    names = [sql.Identifier(f"key{index}") for index in range(len(key))]
    return (
        sql.SQL("SELECT u.number, {} FROM unnest({}) WITH ORDINALITY AS u({}, number) JOIN {} AS t ON {}")
        .format(
            sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(column)) for column in columns),
            sql.SQL(", ").join([sql.SQL("%s::text[]")] * len(names)),
            sql.SQL(", ").join(names),
            sql.Identifier(physical),
            sql.SQL(" AND ").join(
                sql.SQL("t.{} = u.{}::{}").format(sql.Identifier(column), name, sql.SQL(kind))
                for column, kind, name in zip(key, kinds, names, strict=True)
            ),
        )
        .as_bytes(None)
    )


def _key_value(column: str, value: object, kind: str) -> object:
    is_whole = kind in _WHOLE_NUMBERS
    if type(value) is int and is_whole:
        return value
    text = to_pg_text(value)
    if text is None:
        raise UnsupportedValue(f"{column} is null in a key")
    if kind == "uuid":
        return text.lower()
    if kind == "date":
        return date_in(text) if isinstance(value, datetime) else text
    try:
        if kind == "numeric":
            return _digits(Decimal(text))
        return int(text) if is_whole else text
    except (InvalidOperation, ValueError) as error:
        raise UnsupportedValue(f"{column}: {value!r} is not a number") from error


def _digits(number: Decimal) -> str:
    """The number without the zeros that make no difference."""
    digits = format(number, "f")
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return "0" if digits == "-0" else digits
