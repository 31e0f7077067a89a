"""Patterns of texts that people show to others: names, descriptions, messages.

A name or description has no control characters, no characters that set or override the writing direction, and
something visible, so that it can neither imitate another nor look empty. The patterns mean the same in Python and in
JSON Schema, except that `$` is written `\\Z` here.
"""

import unicodedata

# The category Cc, line and paragraph separators, and characters that embed, override or isolate a direction.
_DIRECTION = r"\u2028\u2029\u202a-\u202e\u2066-\u2069"
_CONTROL = rf"\x00-\x1f\x7f-\x9f{_DIRECTION}"
_CONTROL_BUT_LINE_FEED = rf"\x00-\x09\x0b-\x1f\x7f-\x9f{_DIRECTION}"
# White space, invisible characters (Default_Ignorable_Code_Point), and the blank Braille pattern.
_UNSEEN = (
    r"\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u206f\u2800\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    # Literal characters: Python and JSON Schema have different escapes for more than four digits.
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)

NAME = rf"^[^{_CONTROL}]*?[^{_CONTROL}{_UNSEEN}][^{_CONTROL}]*\Z"
LINES = rf"^(?:[^{_CONTROL_BUT_LINE_FEED}]*?[^{_CONTROL}{_UNSEEN}][^{_CONTROL_BUT_LINE_FEED}]*)?\Z"
MESSAGE = r"^\s*[^\s\x00][^\x00]*\Z"

_REFUSALS = {
    f"Expected `str` matching regex {pattern!r}": words
    for pattern, words in (
        (NAME, "Must have a visible character, and no control characters or changes of the writing direction"),
        (
            LINES,
            "Must be empty or have a visible character, without control characters or changes of the writing direction",
        ),
        (MESSAGE, "Must not be only white space or contain NUL"),
    )
}


def in_words(refusal: str) -> str:
    """Replaces msgspec's message that quotes one of these patterns by words; returns any other unchanged."""
    return _REFUSALS.get(refusal, refusal)


def normalized(text: str) -> str:
    """The text in NFC: one spelling for texts that look the same."""
    return unicodedata.normalize("NFC", text)
