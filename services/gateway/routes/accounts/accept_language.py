"""Language negotiation by `Accept-Language` (RFC 9110, section 12.5.4)."""

import re
from collections.abc import Iterable, Sequence

_WEIGHT = re.compile(r"[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*\Z")
_RANGE = re.compile(r"(?:\*|[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)\Z")


def preferred(headers: Iterable[str], offered: Sequence[str]) -> str:
    """Returns the language of `offered` (primary tags) with the highest weight; the first if none is accepted.

    Regions and scripts count as their language: `ru-RU` is `ru`. Of equal weights the one named first wins, and `*`
    applies to all that are not named. Malformed elements are skipped.
    """
    weights: dict[str, float] = {}
    for element in ",".join(headers).split(","):
        tag, semicolon, parameter = element.partition(";")
        weight = _WEIGHT.match(parameter)
        if not _RANGE.match(tag := tag.strip(" \t")) or (semicolon and weight is None):
            continue
        language = tag.partition("-")[0].lower()
        weights[language] = max(weights.get(language, 0.0), float(weight[1]) if weight else 1.0)
    of_others = weights.pop("*", 0.0)
    weighted = {language: weight for language, weight in weights.items() if language in offered}
    weighted |= {language: of_others for language in offered if language not in weighted}
    # The first of equals.
    best = max(weighted, key=weighted.__getitem__)
    return best if weighted[best] > 0 else offered[0]
