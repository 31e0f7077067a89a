"""Converts untyped values into a typed command; reports violations as `Invalid`."""

import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from contracts.errors import Invalid, Violation
from contracts.values.visible_text import in_words

T = TypeVar("T")

_PATH = re.compile(r"^(?P<message>.*?)(?: - at `(?:key in )?\$(?P<path>.*)`)?$", re.DOTALL)


def validated(kind: type[T], values: Mapping[str, object]) -> T:
    """Converts the values to `kind`, checking every field's limits.

    Raises:
        Invalid: with the path of the first invalid field.
    """
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise Invalid(violations=(violation(error),)) from error


def violation(error: msgspec.ValidationError) -> Violation:
    """Path and message, parsed from msgspec's error text; `$.errors[0].text` becomes `/errors/0/text`."""
    found = _PATH.match(str(error))
    path = (found["path"] or "") if found else ""
    message = found["message"] if found else str(error)
    return Violation(re.sub(r"\.|\[|\]\.|\]", "/", path).rstrip("/").replace("//", "/"), in_words(message))
