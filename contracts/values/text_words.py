"""The words of a message's text, as its search compares them; the index and the queries must use exactly these rules.

Text is folded: case, accents, width and invisible characters are ignored, in any script; only й remains a letter of its
own. A word is a run of letters, marks and digits. Some scripts put no spaces between words (Chinese, Japanese, Thai,
Lao, Burmese, Khmer). A run of such a script, or of symbols such as emoji, is indexed by its pairs of neighbouring
characters and its last character, so that any part of the run is found.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

import msgspec

from contracts.values.name_matching import base_letter

# Folded characters of a word; the rest of a longer word is ignored.
LONGEST_WORD = 64

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_FOLDED_WORD = re.compile(r"[^ ]+")
# Decomposition turns the letter й into и and this accent.
_BREVE = "\u0306"
# Thai and Lao, Burmese, Khmer, the Japanese syllabaries with the iteration mark and zero, Chinese characters.
_SPACELESS_SCRIPTS = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3005, 0x3007),
    (0x3040, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0x20000, 0x3FFFF),
)
# All characters below belong to scripts with spaces between words.
_FIRST_SPACELESS = chr(_SPACELESS_SCRIPTS[0][0])


class Segment(msgspec.Struct, frozen=True):
    """A word, or a run of characters without spaces, in folded characters."""

    text: str
    # Of each folded character: the index in the original text of the character that it is part of.
    origins: Sequence[int]
    spaceless: bool


def segments(text: str, initials: frozenset[str] | None = None) -> list[Segment]:
    """The words and runs of a text, in order.

    `initials`: words that begin with another letter may be left out; None: all words are wanted.
    """
    if text.isascii():
        words = _ASCII_WORD if initials is None else _words_beginning(initials, "[a-z0-9]")
        return [_segment(word) for word in words.finditer(text.lower())]
    pieces = _pieces(text)
    joined = "".join(pieces)
    if max(joined, default="") < _FIRST_SPACELESS and all(len(piece) == 1 for piece in pieces):
        words = _FOLDED_WORD if initials is None else _words_beginning(initials, "[^ ]")
        return [_segment(word) for word in words.finditer(joined)]
    characters = [(char, origin) for origin, piece in enumerate(pieces) for char in piece]
    result: list[Segment] = []
    for kind, group in groupby(characters, lambda character: _kind(character[0])):
        if kind != _SEPARATOR:
            chars, origins = zip(*group, strict=True)
            result.append(Segment("".join(chars), origins, kind == _SPACELESS))
    return result


@lru_cache(maxsize=256)
def _words_beginning(initials: frozenset[str], letter: str) -> re.Pattern[str]:
    """Matches the words of these letters that begin with one of the initials."""
    beginning = "|".join(re.escape(initial) for initial in sorted(initials)) or "(?!)"
    return re.compile(f"(?<!{letter})(?:{beginning}){letter}*")


def _segment(word: re.Match[str]) -> Segment:
    """A word of a text in which every character has one folded character."""
    return Segment(word[0], range(*word.span()), False)


def index_words(text: str) -> list[str]:
    """The index terms of a text, in order: its words, and the pairs of its runs."""
    if text.isascii():
        return [word[:LONGEST_WORD] for word in _ASCII_WORD.findall(text.lower())]
    joined = "".join(_pieces(text))
    if not joined or max(joined) < _FIRST_SPACELESS:
        return [word[:LONGEST_WORD] for word in joined.split()]
    words: list[str] = []
    for kind, group in groupby(joined, _kind):
        if kind == _WORD:
            words.append("".join(group)[:LONGEST_WORD])
        elif kind == _SPACELESS:
            words += pairs("".join(group))
    return words


def pairs(run: str) -> list[str]:
    """The pairs of neighbouring characters of a run, and its last character."""
    return [run[index : index + 2] for index in range(len(run))]


def end_of_character(text: str, index: int) -> int:
    """The index behind a character and the accents and invisible characters that follow it."""
    index += 1
    while index < len(text) and not _piece(text[index]):
        index += 1
    return index


def _pieces(text: str) -> list[str]:
    """Folds each character of the text: to one or several characters, to none, or to a space if it separates words."""
    pieces = [_piece(char) for char in text]
    if _BREVE in text:
        for index in range(1, len(pieces)):
            if text[index] == _BREVE and pieces[index - 1] == "и":
                pieces[index - 1] = "й"
    return pieces


# Most texts consist of few different characters.
@lru_cache(maxsize=4_096)
def _piece(char: str) -> str:
    if char in "йЙ":
        return "й"
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold())
    return "".join(letter if _kind(letter) != _SEPARATOR else " " for letter in map(base_letter, decomposed) if letter)


_WORD, _SPACELESS, _SEPARATOR = range(3)


@lru_cache(maxsize=4_096)
def _kind(char: str) -> int:
    category = unicodedata.category(char)
    if category == "So" and char >= _FIRST_SPACELESS:
        return _SPACELESS
    if category[0] not in "LMN":
        return _SEPARATOR
    return _SPACELESS if any(first <= ord(char) <= last for first, last in _SPACELESS_SCRIPTS) else _WORD
