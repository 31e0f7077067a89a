"""Converts untyped values into a typed command; reports violations as `Invalid`."""

import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from contracts.errors import Invalid, Violation
from contracts.values.visible_text import in_words

T = TypeVar("T")

_TEXT = re.compile(r"^(?P<message>.*?)(?: - at `(?P<location>(?:key in )?\$[^`]*)`)?$", re.DOTALL)
_FIELD = re.compile(r"(?:unknown|required) field `(?P<name>[^`]*)`")
_STEP = re.compile(r"\.([^.\[\]]+)|\[([^\]]*)\]")


def validated(kind: type[T], values: Mapping[str, object], *, strict: bool = True) -> T:
    """Converts the values to `kind`, checking every field's limits.

    `strict`: False for values that are all text, as from a path.

    Raises:
        Invalid: with the path of the first invalid field.
    """
    try:
        return msgspec.convert(values, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise Invalid(violations=(violation(error),)) from error


def violation(error: msgspec.ValidationError, prefix: str = "") -> Violation:
    """The violation for a validation error, with its location as a JSON pointer after the prefix.

    Both are parsed from msgspec's text: `$.errors[0].text` becomes `/errors/0/text`; a missing or unknown field is
    part of the location.
    """
    parsed = _TEXT.match(str(error))
    assert parsed is not None
    message, location = parsed["message"], parsed["location"] or "$"
    steps = [name or index for name, index in _STEP.findall(location)]
    field = _FIELD.search(message)
    if field is not None:
        steps.append(field["name"])
    pointer = "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)
    return Violation(prefix + pointer, in_words(message))
