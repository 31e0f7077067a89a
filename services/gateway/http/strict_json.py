"""JSON that two readers may read differently, which is refused: half a surrogate pair, and a name given twice."""

import json
import re
from collections.abc import Collection

from contracts.errors import Invalid, Violation

_SURROGATE = re.compile("[\ud800-\udfff]")


def check_names(body: bytes, names: Collection[bytes]) -> None:
    """Refuses an object that has a name twice. Of an ordinary body this only looks at the bytes.

    `names`: in quotation marks, those that the object may have; whoever has decoded it knows that there is no other.

    Raises:
        Invalid: a name stands there twice; which of the two counts is a matter of opinion.
    """
    # A name may be written with escapes, and a value may look like a name.
    if b"\\u" not in body:
        for name in names:
            if body.count(name) > 1:
                break
        else:
            return
    # A number may have more digits than Python makes an int of, and is not looked at.
    json.loads(body, object_pairs_hook=_once, parse_int=str)


def check_surrogates(body: bytes) -> None:
    """Tells half a surrogate pair, which is JSON and no text, from what is not JSON; for bodies that were refused.

    Raises:
        Invalid: it is that, and where.
    """
    try:
        found = json.loads(body.decode(), parse_constant=_no_number, parse_int=str)
    except (ValueError, RecursionError):
        return
    fields = found.items() if isinstance(found, dict) else ()
    wrong = [name for name, value in fields if isinstance(value, str) and _SURROGATE.search(value)]
    path = f"/{wrong[0]}" if wrong and not _SURROGATE.search(wrong[0]) else ""
    raise Invalid(violations=(Violation(path, "Half a surrogate pair is no text"),))


def _once(pairs: list[tuple[str, object]]) -> None:
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise Invalid(violations=(Violation(f"/{name}", "Given more than once"),))
        seen.add(name)


def _no_number(name: str) -> float:
    raise ValueError(name)
