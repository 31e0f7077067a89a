"""Terms of a search for messages: parsed from the query, matched by the index, and marked in the texts found.

A message is found if its text contains every term. A word contains a term if it begins with it, or if both have the
same stem. A term of a script without spaces, or of symbols, may occur anywhere in a run (contracts/values/text_words).
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from contracts.values.text_words import LONGEST_WORD, Segment, end_of_character, pairs, segments

# Stems by word; a word without an entry has none.
Stems = Mapping[str, str]

# Terms that are looked up in the index, the longest first; the others only filter the result.
LOOKED_UP = 8
# Terms of a query, the longest; the others are ignored.
_MOST_TERMS = 16
_HAS_STEM = re.compile(r"[a-z]+|[\u0400-\u04ff]+")


class Term(msgspec.Struct, frozen=True):
    text: str
    spaceless: bool


def parse_query(query: str) -> tuple[Term, ...]:
    """The terms, the longest first and at most 16; none if the query has neither a letter, a digit nor a symbol."""
    terms = {
        Term(segment.text if segment.spaceless else segment.text[:LONGEST_WORD], segment.spaceless)
        for segment in segments(query)
    }
    return tuple(sorted(terms, key=lambda term: (-len(term.text), term.text))[:_MOST_TERMS])


def stemmed_words(terms: Sequence[Term], texts: Iterable[Sequence[Segment]] = ()) -> set[str]:
    """The terms, and those words of the texts that can match one only by their stem."""
    words = [term.text for term in terms if not term.spaceless]
    # A word and its stem begin with the same letter.
    initials = {word[0] for word in words}
    candidates = {
        segment.text[:LONGEST_WORD]
        for text in texts
        for segment in text
        if not segment.spaceless and segment.text[0] in initials
    }
    unmatched = {word for word in candidates if not word.startswith(tuple(words))}
    return {word for word in (*words, *unmatched) if _HAS_STEM.fullmatch(word)}


def index_query(terms: Sequence[Term], stems: Stems) -> str:
    """A tsquery for the terms. They consist of letters, marks, digits and symbols, none of which is its syntax."""
    return " & ".join(_condition(term, stems) for term in terms)


def whole_words(terms: Sequence[Term], stems: Stems) -> list[str]:
    """For each word among the terms a tsquery for texts that contain it whole, or in another form."""
    return [f"'{term.text}' | '{stems.get(term.text, term.text)}'" for term in terms if not term.spaceless]


def run_patterns(terms: Sequence[Term]) -> list[str]:
    """Patterns of LIKE for the folded text: the pairs of each term must be neighbours there."""
    return [f"%{' '.join(pairs(term.text)[:-1])}%" for term in terms if term.spaceless and len(term.text) > 2]


def highlights(
    text: str, text_segments: Sequence[Segment], terms: Sequence[Term], stems: Stems
) -> list[tuple[int, int]] | None:
    """Begin and end of each occurrence of the terms in a text of these segments, in characters, in order, merged.

    None: the text does not contain all of them.
    """
    words: dict[str, list[Term]] = {}
    runs = [term for term in terms if term.spaceless]
    for term in terms:
        if not term.spaceless:
            # A word and its stem begin with the same letter.
            words.setdefault(term.text[0], []).append(term)
    occurrences: list[tuple[int, int]] = []
    matched: set[Term] = set()
    for segment in text_segments:
        for term in runs if segment.spaceless else words.get(segment.text[0], ()):
            if parts := _occurrences(text, segment, term, stems):
                matched.add(term)
                occurrences += parts
    if len(matched) < len(terms):
        return None
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(occurrences):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _condition(term: Term, stems: Stems) -> str:
    if not term.spaceless:
        stem = stems.get(term.text)
        # A stem that begins with the term is found with it.
        if stem is None or stem.startswith(term.text):
            return f"'{term.text}':*"
        return f"('{term.text}':* | '{stem}')"
    if len(term.text) == 1:
        return f"'{term.text}':*"
    return " & ".join(f"'{pair}'" for pair in pairs(term.text)[:-1])


def _occurrences(text: str, segment: Segment, term: Term, stems: Stems) -> list[tuple[int, int]]:
    """Offsets of the term in a segment of its own kind."""
    if term.spaceless:
        begins = [match.start() for match in re.finditer(re.escape(term.text), segment.text)]
        return [_extent(text, segment, begin, begin + len(term.text)) for begin in begins]
    word = segment.text[:LONGEST_WORD]
    if word.startswith(term.text):
        return [_extent(text, segment, 0, len(term.text))]
    stem, wanted = stems.get(word), stems.get(term.text)
    if (stem is not None and (stem == wanted or stem.startswith(term.text))) or word == wanted:
        return [_extent(text, segment, 0, len(segment.text))]
    return []


def _extent(text: str, segment: Segment, begin: int, end: int) -> tuple[int, int]:
    """The characters of the text that folded characters of a segment come from."""
    return segment.origins[begin], end_of_character(text, segment.origins[end - 1])
