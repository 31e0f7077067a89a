"""What is looked for when somebody types a name: its beginning, and words with slips of the finger in them.

A word of four letters or more may have one slip: a letter missing, added, wrong, or swapped with the next. A word of
nine or more may have another one behind its sixth letter. The last word may still be going on; so a wrong or an added
letter at its very end counts as a slip only where the word that is found ends there, as any slip does in a word of
four letters unless two were swapped. Where no word has four letters, the longest is looked for as it stands, whole.
"""

import re

import msgspec

from contracts.values.name_matching import HEADS, normalize, query_keys, segments

_LEAST, _HEAD = min(HEADS), max(HEADS)
_TWO_SLIPS = 9
# Beyond these a query is a text and no name: it is found by its beginning alone.
_MOST_WORDS, _LONGEST_WORD = 8, 24
# How many words are looked up in the index; the others are compared with what these find.
LOOKED_UP = 3
# A letter of the spaced form; what else stands there is a space or a segment that the pattern spells out.
_LETTER = "[^ ]"


class SearchQuery(msgspec.Struct, frozen=True):
    """A query as the read model can answer it."""

    # What a whole name begins with; nothing begins with an empty one.
    prefix: str
    # Forms of the words that are looked up, the longest first; none where the query bears no slip.
    forms: list[list[str]]
    # Patterns of the spaced form, all of which have to match: as typed, and with slips.
    typed: list[str]
    near: list[str]


def parse_query(query: str) -> SearchQuery:
    prefix = normalize(query)
    tokens = [segments(token) for token in prefix.split()]
    words = [segment for token in tokens for segment, is_word in token if is_word]
    words.sort(key=len, reverse=True)
    if not words or len(words) > _MOST_WORDS or not 1 < len(words[0]) <= _LONGEST_WORD:
        return SearchQuery(prefix, [], [], [])
    if len(words[0]) < _LEAST:
        patterns = ["".join(_typed(token)) for token in tokens] + [f" {words[0]} "]
        return SearchQuery(prefix, [query_keys(words[0])], patterns, patterns)
    forms = [query_keys(word) for word in words[:LOOKED_UP] if len(word) >= _LEAST]
    return SearchQuery(
        prefix,
        forms,
        ["".join(_typed(token)) for token in tokens],
        ["".join(_fuzzy_pattern(token)) for token in tokens],
    )


def _typed(token: list[tuple[str, bool]]) -> list[str]:
    return [
        f" {re.escape(segment)}{_end(place, token)}" if is_word else re.escape(segment)
        for place, (segment, is_word) in enumerate(token)
    ]


def _fuzzy_pattern(token: list[tuple[str, bool]]) -> list[str]:
    return [
        f" {typo_pattern(segment, _end(place, token))}" if is_word else re.escape(segment)
        for place, (segment, is_word) in enumerate(token)
    ]


def _end(place: int, token: list[tuple[str, bool]]) -> str:
    """A word is complete when something other than a space follows it."""
    return " " if place + 1 < len(token) else ""


def typo_pattern(word: str, end: str) -> str:
    """A regular expression for the word as it may have been meant."""
    if len(word) < _LEAST:
        return word + end
    if len(word) < _TWO_SLIPS:
        return one_typo(word, end)
    head, rest = word[:_HEAD], word[_HEAD:]
    inner = sorted({head, *_wrong(head), *_missing(head), *_added(head), *_swapped(head)})
    return f"(?:{'|'.join(inner)}){one_typo(rest, end)}"


def one_typo(word: str, end: str) -> str:
    # At the end of what was typed a wrong or an added letter would make any longer word fit; and of so short a word as
    # four letters too little is left.
    *wrong, last_wrong = _wrong(word)
    *added, last_added = _added(word)
    guessed = end or (" " if len(word) <= _LEAST else "")
    forms = {form + end for form in (word, *_swapped(word))}
    forms |= {form + guessed for form in (*wrong, *added, *_missing(word))}
    forms |= {f"{last_wrong} ", f"{last_added} "}
    return f"(?:{'|'.join(sorted(forms))})"


def _wrong(word: str) -> list[str]:
    return [word[:place] + _LETTER + word[place + 1 :] for place in range(len(word))]


def _missing(word: str) -> list[str]:
    return [word[:place] + _LETTER + word[place:] for place in range(len(word))]


def _added(word: str) -> list[str]:
    return [word[:place] + word[place + 1 :] for place in range(len(word))]


def _swapped(word: str) -> list[str]:
    return [
        word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        for place in range(len(word) - 1)
        if word[place] != word[place + 1]
    ]
