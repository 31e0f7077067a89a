"""Typo-tolerant matching of people's names; the index and the queries must use exactly these rules.

A name is folded first: case, accents, width and invisible characters are ignored, in any script. Then it is split into
words of letters; digits and punctuation between them are separate segments. Typos are tolerated in letters only:
`anna17` and `anna18` are two people.
"""

import re
import unicodedata
from functools import lru_cache
from itertools import groupby

# An index of words with one letter deleted finds every word that is one typo away (a letter missing, added, wrong, or
# swapped with the next): both share a variant. Only the first letters of a word are indexed: six distinguish most
# names; five and four serve shorter queries.
HEADS = (4, 5, 6)
# Maximum of indexed words per name.
_MOST_WORDS = 12

_ASCII_SEGMENT = re.compile(r"[a-z]+|[^a-z ]+")


def normalize(text: str) -> str:
    """The folded name, with one space between its parts. May be empty."""
    if text.isascii():
        return " ".join(text.lower().split())
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return " ".join("".join(map(base_letter, decomposed)).split())


def segments(folded_text: str) -> list[tuple[str, bool]]:
    """The words of a folded name and the segments between them, without spaces; each with whether it is a word."""
    if folded_text.isascii():
        return [(segment, segment[0].isalpha()) for segment in _ASCII_SEGMENT.findall(folded_text)]
    parts = (("".join(members), kind) for kind, members in groupby(folded_text, _is_letter))
    return [(segment, kind) for part, kind in parts for segment in ([part] if kind else part.split())]


def pad_words(folded_text: str) -> str:
    """The name with a space on either side of each word, so that a pattern can match word boundaries."""
    return "".join(f" {segment} " if is_word else segment for segment, is_word in segments(folded_text))


def index_keys(folded_text: str) -> str:
    """The keys that find the words of a name despite a typo, separated by spaces."""
    words = [segment for segment, is_word in segments(folded_text) if is_word]
    return " ".join(map(_forms_of, words[:_MOST_WORDS]))


def query_keys(word: str) -> list[str]:
    """The keys to look up a query's word by: the word itself if it is too short for typos, none for one letter."""
    if len(word) < min(HEADS):
        return [word] if len(word) > 1 else []
    letters = max(letters for letters in HEADS if letters <= len(word))
    return list(dict.fromkeys(deletion_variants(word[:letters])))


# Cached: most names are shared by many people.
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
    return [head[:index] + head[index + 1 :] for index in range(len(head))]


@lru_cache(maxsize=4_096)
def base_letter(char: str) -> str:
    """The character without its accent; empty for an accent alone and for invisible characters.

    Accents are the combining classes from 200 on; 10 to 36 are the points of Hebrew and Arabic. Other classes are
    parts of letters: vowels of Thai and Hindi, voicing marks of Japanese.
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
        # Strokes and hooks do not decompose; only the character's name contains them: ø, ł, đ, қ.
        try:
            return unicodedata.lookup(name.partition(" WITH ")[0])
        except KeyError:
            return char
    return char


@lru_cache(maxsize=4_096)
def _is_letter(char: str) -> bool:
    return unicodedata.category(char)[0] in "LM"
