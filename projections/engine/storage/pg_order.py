"""Which Python values compare as PostgreSQL compares them, by the column's type.

Texts are compared by code point: as Python does, and as PostgreSQL does with the collation "C" in a UTF-8 database.
"""

import decimal
import math
from datetime import date, datetime, timedelta
from decimal import Decimal

_NUMBERS = frozenset({"smallint", "integer", "bigint", "numeric", "real", "double precision"})
_TIMES = frozenset({"timestamp with time zone", "date", "interval"})
TEXTS = frozenset({"text", "character varying"})
# Values of other types are rounded when they are stored, so they may be equal in a row and differ in Python.
_UNROUNDED: dict[str, frozenset[type]] = {
    **dict.fromkeys(("smallint", "integer", "bigint"), frozenset({int})),
    "date": frozenset({date}),
}
# Compared for equality only.
_OTHERS = frozenset({"boolean", "uuid"})

# Adds decimals without rounding, as PostgreSQL does; where Python would round, it raises an ArithmeticError.
exact_sum = decimal.Context(prec=1_000, traps=[decimal.Inexact, decimal.InvalidOperation, decimal.Overflow]).add

SUMMED: frozenset[type] = frozenset({int, Decimal, timedelta})
_ORDERED: frozenset[type] = frozenset({int, Decimal, date, datetime, timedelta})
_TEXT: frozenset[type] = frozenset({str})


def ordered_types(kind: str) -> frozenset[type]:
    """Types of values that need no further check in a column of this type that is compared; None is not among them."""
    return _TEXT if kind in TEXTS else _ORDERED


def deciding_types(kind: str) -> frozenset[type]:
    """Types of values that need no further check in a column of this type that decides between two changes."""
    return _UNROUNDED.get(kind) or ordered_types(kind)


def decides(value: object, kind: str) -> bool:
    """Whether the value, which is not None, decides in Python between two changes as it does in such a column."""
    return is_ordered(value, kind) and (kind not in _UNROUNDED or type(value) in _UNROUNDED[kind])


def is_ordered(value: object, kind: str) -> bool:
    """Whether the value, which is not None, compares in Python as it does in a column of this type."""
    if kind in TEXTS:
        return isinstance(value, str)
    # NaN is equal to nothing in Python, and the highest number in PostgreSQL.
    if isinstance(value, float):
        return not math.isnan(value)
    return isinstance(value, int | Decimal | date | timedelta)


def has_order(kind: str) -> bool:
    """Whether columns of this type can decide between two changes."""
    return kind in _NUMBERS or kind in _TIMES or kind in TEXTS


def has_equality(kind: str) -> bool:
    """Whether columns of this type can be compared with a value."""
    return has_order(kind) or kind in _OTHERS
