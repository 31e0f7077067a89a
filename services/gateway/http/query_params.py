"""Decodes query parameters into the struct that a route declares; unknown parameters are ignored."""

from functools import cache, lru_cache
from typing import Annotated, TypeVar, cast

import msgspec
import msgspec.inspect
from msgspec import Meta
from starlette.datastructures import QueryParams

from contracts.errors import Invalid, Violation
from contracts.values.field_types import PAGE_LIMIT, PageLimit
from contracts.values.validation import violation

T = TypeVar("T")
# Longest query string that is cached, in bytes.
_SHORT = 64
Cursor = Annotated[
    str, Meta(max_length=1024, pattern=r"^[A-Za-z0-9_=.-]*\Z", description="`next` of the previous page; opaque.")
]


class NoQuery(msgspec.Struct, frozen=True):
    """For routes without query parameters."""


class PageQuery(msgspec.Struct, frozen=True):
    """Which page of a list."""

    limit: Annotated[PageLimit, Meta(description="Maximum number of items.")] = PAGE_LIMIT
    cursor: Cursor = ""


def names(query_type: type[object]) -> tuple[str, ...]:
    """The parameter names of a query type."""
    return query_type.__struct_fields__ if issubclass(query_type, msgspec.Struct) else ()


@cache
def _repeatable(query_type: type[object]) -> frozenset[str]:
    """The parameters that hold a list: each item is given as one parameter."""
    kind = msgspec.inspect.type_info(query_type)
    fields = kind.fields if isinstance(kind, msgspec.inspect.StructType) else ()
    return frozenset(field.encode_name for field in fields if isinstance(field.type, msgspec.inspect.VarTupleType))


def decode(query_string: bytes, query_type: type[T]) -> T:
    """Decodes the query string.

    Raises:
        Invalid: a parameter has an invalid value or is given twice, or a required one is missing.
    """
    # Most requests repeat a few short queries, such as `limit=50`: those are cached.
    if len(query_string) > _SHORT:
        return _decoded(query_string, query_type)
    return cast(T, _remembered(query_string, query_type))  # type: ignore[arg-type]  # a class can be a key


def _decoded(query_string: bytes, query_type: type[T]) -> T:
    parameters = QueryParams(query_string)
    values: dict[str, str | list[str]] = {}
    repeatable = _repeatable(query_type)  # type: ignore[arg-type]  # a class can be a key
    for name in names(query_type):
        texts = parameters.getlist(name)
        if name in repeatable:
            values[name] = texts
            continue
        if len(texts) > 1:
            raise Invalid(violations=(Violation(f"/query/{name}", "Given more than once"),))
        if texts:
            values[name] = texts[0]
    try:
        decoded = msgspec.convert(values, query_type, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(violations=(violation(error, "/query"),)) from error
    for name in values:
        # msgspec reads the word `null` as None; a parameter is omitted instead.
        if getattr(decoded, name) is None:
            raise Invalid(violations=(Violation(f"/query/{name}", "Not a value"),))
    return decoded


# Safe to share: query types are frozen.
_remembered = lru_cache(maxsize=1_024)(_decoded)
