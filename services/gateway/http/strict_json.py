"""Rejects JSON that two parsers may read differently: half a surrogate pair, a huge number, and a name given twice."""

import json
import re
from collections.abc import Collection

from contracts.errors import Invalid, Violation

_SURROGATE = re.compile("[\ud800-\udfff]")


def check_names(body: bytes, names: Collection[bytes]) -> None:
    """Rejects an object that has a name twice. An ordinary body is only scanned as bytes.

    `names`: in quotation marks, all that the object may have; decoding has excluded others before.

    Raises:
        Invalid: a name is given twice; parsers differ on which of the two counts.
    """
    # A name may be written with escapes, and a value may equal a name: these bodies are parsed.
    if b"\\u" not in body:
        for name in names:
            if body.count(name) > 1:
                break
        else:
            return
    # Numbers stay text: one may have more digits than Python converts to an int.
    json.loads(body, object_pairs_hook=_once, parse_int=str)


def check_values(body: bytes) -> None:
    """Distinguishes values that JSON permits from what is not JSON; for bodies that failed to decode.

    Raises:
        Invalid: the body holds half a surrogate pair, with the path where known, or a number that is too large.
    """
    try:
        document = json.loads(body.decode(), parse_constant=_no_number, parse_int=str)
        has_halves = _SURROGATE.search(json.dumps(document, ensure_ascii=False)) is not None
    except (ValueError, RecursionError):
        return
    if not has_halves:
        raise Invalid(violations=(Violation("", "A number is too large"),))
    fields = document.items() if isinstance(document, dict) else ()
    wrong = [name for name, value in fields if isinstance(value, str) and _SURROGATE.search(value)]
    path = f"/{wrong[0]}" if wrong and not _SURROGATE.search(wrong[0]) else ""
    raise Invalid(violations=(Violation(path, "Half a surrogate pair is not text"),))


def _once(pairs: list[tuple[str, object]]) -> None:
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise Invalid(violations=(Violation(f"/{name}", "Given more than once"),))
        seen.add(name)


def _no_number(name: str) -> float:
    raise ValueError(name)
