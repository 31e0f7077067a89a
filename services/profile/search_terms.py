"""Parses a name query into a prefix and typo-tolerant patterns for its words.

A word of four letters or more may have one typo: a letter missing, added, wrong, or swapped with the next. A word of
nine or more may have another one after its sixth letter. The last word may be incomplete, so a wrong or added letter at
its very end is accepted as a typo only if the word found ends there. The same holds for any typo in a word of four
letters, except a swap. If no word has four letters, the longest one must occur as a whole word, without typos.
"""

import re

import msgspec

from contracts.values.name_matching import HEADS, normalize, query_keys, segments

_LEAST, _HEAD = min(HEADS), max(HEADS)
_TWO_SLIPS = 9
# A query beyond these limits is not a name and is matched by its prefix alone.
_MOST_WORDS, _LONGEST_WORD = 8, 24
# Words looked up in the index; the others only filter the result.
LOOKED_UP = 3
# A letter of the spaced form, which otherwise contains spaces and segments that the pattern spells out.
_LETTER = "[^ ]"


class SearchQuery(msgspec.Struct, frozen=True):
    """A parsed query for the read model."""

    # Prefix of the whole name; an empty one matches nothing.
    prefix: str
    # Forms of the words that are looked up, the longest first; empty if the query is matched by its prefix alone.
    forms: list[list[str]]
    # Patterns of the spaced form, all of which have to match: as typed, and with typos.
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
        f" {re.escape(segment)}{_end(index, token)}" if is_word else re.escape(segment)
        for index, (segment, is_word) in enumerate(token)
    ]


def _fuzzy_pattern(token: list[tuple[str, bool]]) -> list[str]:
    return [
        f" {typo_pattern(segment, _end(index, token))}" if is_word else re.escape(segment)
        for index, (segment, is_word) in enumerate(token)
    ]


def _end(index: int, token: list[tuple[str, bool]]) -> str:
    """Returns the pattern's end: a space if another segment of the token follows, so that the word is complete."""
    return " " if index + 1 < len(token) else ""


def typo_pattern(word: str, end: str) -> str:
    """Returns a regular expression for the word with up to the allowed number of typos."""
    if len(word) < _LEAST:
        return word + end
    if len(word) < _TWO_SLIPS:
        return one_typo(word, end)
    head, rest = word[:_HEAD], word[_HEAD:]
    inner = sorted({head, *_wrong(head), *_missing(head), *_added(head), *_swapped(head)})
    return f"(?:{'|'.join(inner)}){one_typo(rest, end)}"


def one_typo(word: str, end: str) -> str:
    # A wrong or added letter at the end of the input would match any longer word, and a typo leaves too little of a
    # word of four letters. Both therefore need the end of the word found.
    *wrong, last_wrong = _wrong(word)
    *added, last_added = _added(word)
    guessed = end or (" " if len(word) <= _LEAST else "")
    forms = {form + end for form in (word, *_swapped(word))}
    forms |= {form + guessed for form in (*wrong, *added, *_missing(word))}
    forms |= {f"{last_wrong} ", f"{last_added} "}
    return f"(?:{'|'.join(sorted(forms))})"


def _wrong(word: str) -> list[str]:
    return [word[:index] + _LETTER + word[index + 1 :] for index in range(len(word))]


def _missing(word: str) -> list[str]:
    return [word[:index] + _LETTER + word[index:] for index in range(len(word))]


def _added(word: str) -> list[str]:
    return [word[:index] + word[index + 1 :] for index in range(len(word))]


def _swapped(word: str) -> list[str]:
    return [
        word[:index] + word[index + 1] + word[index] + word[index + 2 :]
        for index in range(len(word) - 1)
        if word[index] != word[index + 1]
    ]
