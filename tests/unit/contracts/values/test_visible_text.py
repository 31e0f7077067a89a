"""What may be shown as a name, a description or a message."""

import re
import sys
import unicodedata

import pytest

from contracts.values import visible_text
from contracts.values.visible_text import LINES, MESSAGE, NAME, in_words, normalized

SHOWN = [
    "Anna",
    "Żółw 7",
    "علي بن أبي طالب",
    "שלום\u200f",
    "e\u0301",
    "👨‍👩‍👧‍👦",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    " x ",
    "\U0001d49c",
]
HIDDEN = ["", " ", "\u200b", "\u2060\ufeff", "\u3164", "\u2800", "\u115f\u1160", "\u00ad", "\ufe0f", "\U000e0041"]
STEERING = [
    "a\u202eb",
    "a\u202a",
    "\u2066a\u2069",
    "a\x00",
    "a\x07",
    "a\x1b[31m",
    "a\x7f",
    "a\x85b",
    "a\u2028b",
    "a\tb",
]


@pytest.mark.parametrize("text", SHOWN)
def test_what_people_are_called_in_any_script_is_a_name(text: str) -> None:
    for pattern in (NAME, LINES, MESSAGE):
        assert re.search(pattern, text)


@pytest.mark.parametrize("text", HIDDEN)
def test_text_with_nothing_to_see_in_it_is_no_name(text: str) -> None:
    assert not re.search(NAME, text)
    assert bool(re.search(LINES, text)) == (text == "")


@pytest.mark.parametrize("text", STEERING)
def test_text_that_steers_a_terminal_or_the_writing_direction_is_no_name(text: str) -> None:
    assert not re.search(NAME, text)
    assert not re.search(LINES, text)


def test_a_description_may_have_lines_and_a_name_may_not() -> None:
    assert re.search(LINES, "one\ntwo\n")
    assert not re.search(NAME, "one\ntwo")
    assert not re.search(LINES, "\n\n")
    assert not re.search(LINES, "one\r\ntwo")


def test_every_control_character_is_refused_and_every_letter_is_taken() -> None:
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        category = unicodedata.category(character)
        if category == "Cc":
            assert not re.search(NAME, f"a{character}b"), hex(number)
        elif category in {"Lu", "Ll", "Nd"}:
            assert re.search(NAME, character), hex(number)


@pytest.mark.parametrize("text", [" ", "\t\r\n", "\u2028\u2029\u0085", "\u3000\u2003", "\x1c\x1d\x1e\x1f"])
def test_a_message_is_not_white_space_alone(text: str) -> None:
    assert not re.search(MESSAGE, text)
    assert re.search(MESSAGE, f"{text}x{text}")


def test_a_long_text_is_checked_quickly_whatever_it_contains() -> None:
    for text in (" " * 4000, " " * 3999 + "\x00", "x" * 3999 + "\x00"):
        assert not re.search(MESSAGE, text)


def test_a_refusal_quotes_no_regular_expression() -> None:
    for pattern in (NAME, LINES, MESSAGE):
        assert "regex" not in in_words(f"Expected `str` matching regex {pattern!r}")
    assert in_words("Expected `str`, got `int`") == "Expected `str`, got `int`"


def test_what_looks_the_same_is_the_same() -> None:
    assert normalized("e\u0301") == normalized("\u00e9") == "\u00e9"
    assert visible_text.normalized("Anna") == "Anna"
