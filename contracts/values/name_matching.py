"""How people's names are compared and found: whoever indexes them and whoever asks must agree to the letter.

A name is folded first: case, accents, width and invisible characters do not count, in any script. Then it is cut into
words of letters, between which digits and punctuation stand for themselves: a slip of the finger is a matter of
letters, while `anna17` and `anna18` are two people.
"""

import re
import unicodedata
from functools import lru_cache
from itertools import groupby

# An index of words with one letter left out finds every word that is one slip away (a letter missing, added, wrong,
# or swapped with the next): both have a form in common. Only the first letters of a word go in: six tell most, but
# whoever has typed less is served by five or four.
HEADS = (4, 5, 6)
# What a name may bring into the index, however long it is.
_MOST_WORDS = 12

_ASCII_SEGMENT = re.compile(r"[a-z]+|[^a-z ]+")


def normalize(text: str) -> str:
    """The name without what does not count; one space between its parts. May be empty."""
    if text.isascii():
        return " ".join(text.lower().split())
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return " ".join("".join(map(_base, decomposed)).split())


def segments(folded_text: str) -> list[tuple[str, bool]]:
    """The words of a folded name, and what stands between them other than spaces; with whether it is a word."""
    if folded_text.isascii():
        return [(segment, segment[0].isalpha()) for segment in _ASCII_SEGMENT.findall(folded_text)]
    parts = (("".join(members), kind) for kind, members in groupby(folded_text, _is_letter))
    return [(segment, kind) for part, kind in parts for segment in ([part] if kind else part.split())]


def pad_words(folded_text: str) -> str:
    """The name with a space on either side of each word, so that a pattern can tell where one begins and ends."""
    return "".join(f" {segment} " if is_word else segment for segment, is_word in segments(folded_text))


def index_keys(folded_text: str) -> str:
    """What the words of a name are found by in spite of a slip, with spaces between."""
    words = [segment for segment, is_word in segments(folded_text) if is_word]
    return " ".join(map(_forms_of, words[:_MOST_WORDS]))


def query_keys(word: str) -> list[str]:
    """Which forms a word of a query is looked up by; a word too short to bear a slip by itself, none for one letter."""
    if len(word) < min(HEADS):
        return [word] if len(word) > 1 else []
    letters = max(letters for letters in HEADS if letters <= len(word))
    return list(dict.fromkeys(deletion_variants(word[:letters])))


# Most people share their names with others.
@lru_cache(maxsize=16_384)
def _forms_of(word: str) -> str:
    forms = [word] if 1 < len(word) < min(HEADS) else []
    for letters in HEADS:
        if len(word) >= letters:
            forms += deletion_variants(word[:letters])
        elif len(word) == letters - 1 >= min(HEADS):
            forms.append(word)
    return " ".join(forms)


def deletion_variants(head: str) -> list[str]:
    return [head[:place] + head[place + 1 :] for place in range(len(head))]


@lru_cache(maxsize=4_096)
def _base(char: str) -> str:
    """The character without its accent; empty where it is nothing else.

    Accents are the combining classes from 200 on, the points of Hebrew and Arabic those from 10 to 36. Others are
    parts of letters: vowels of Thai and Hindi, the voice marks of Japanese.
    """
    combining = unicodedata.combining(char)
    if combining >= 200 or 10 <= combining <= 36:
        return ""
    category = unicodedata.category(char)
    name = unicodedata.name(char, "")
    if category == "Cf" or name.startswith("VARIATION SELECTOR"):
        return ""
    if char == "ı":
        return "i"
    if category.startswith("L") and " WITH " in name:
        # Strokes and hooks are part of a character's name alone: ø, ł, đ, қ.
        try:
            return unicodedata.lookup(name.partition(" WITH ")[0])
        except KeyError:
            return char
    return char


@lru_cache(maxsize=4_096)
def _is_letter(char: str) -> bool:
    return unicodedata.category(char)[0] in "LM"
