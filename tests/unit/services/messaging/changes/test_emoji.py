"""One emoji as Unicode lists them, in one spelling; nothing else."""

import msgspec
import pytest
from emoji import EMOJI_DATA, STATUS
from hypothesis import given
from hypothesis import strategies as st

from contracts.values.field_types import EmojiText
from services.messaging.changes.emoji import qualified_emoji

SINGLE = {
    "face": "😀",
    "skin tone": "👍🏽",
    "flag": "🇷🇺",
    "flag of a region": "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "keycap": "1\ufe0f\u20e3",
    "family": "👨‍👩‍👧‍👦",
    "rainbow flag": "🏳️‍🌈",
    "text by default": "❤\ufe0f",
    "couple of two skin tones": "👩🏻‍❤️‍💋‍👨🏿",
}
NONE = {
    "nothing": "",
    "digit": "1",
    "letter": "a",
    "word": "thumbsup",
    "alias": ":thumbs_up:",
    "variation selector": "\ufe0f",
    "joiner": "\u200d",
    "keycap alone": "\u20e3",
    "skin tone alone": "🏽",
    "half a flag": "🇷",
    "no country": "🇽🇽",
    "two": "👍👍",
    "two countries": "🇷🇺🇷🇺",
    "text form": "❤\ufe0e",
    "space": "👍 ",
    "line": "👍\n",
    "NUL": "\x00",
    "surrogate": "\ud83d",
    "joined for ever": "👩" + "\u200d👩" * 100,
    "joined with nothing": "👩\u200d",
    "tags without end": "\U0001f3f4\U000e0067",
    "combining": "👍\u0301",
    "bidi": "\u202e👍",
}


@pytest.mark.parametrize("text", SINGLE.values(), ids=SINGLE)
def test_a_single_emoji_is_one(text: str) -> None:
    assert qualified_emoji(text) == text


@pytest.mark.parametrize("text", NONE.values(), ids=NONE)
def test_anything_else_is_none(text: str) -> None:
    assert qualified_emoji(text) is None


@pytest.mark.parametrize("spelling", ["❤", "❤\ufe0f"])
def test_each_emoji_has_one_spelling(spelling: str) -> None:
    assert qualified_emoji(spelling) == "❤\ufe0f"


@given(st.sampled_from(sorted(EMOJI_DATA)), st.sampled_from(sorted(EMOJI_DATA)))
def test_an_emoji_of_the_list_is_one_and_two_of_them_are_none(one: str, other: str) -> None:
    component = EMOJI_DATA[one]["status"] == STATUS["component"]
    assert (qualified_emoji(one) is None) == component
    if EMOJI_DATA[other]["status"] != STATUS["component"]:
        assert qualified_emoji(one + other) is None


@given(st.text(max_size=8))
def test_a_qualified_emoji_is_its_own_form(text: str) -> None:
    if (emoji := qualified_emoji(text)) is not None:
        assert qualified_emoji(emoji) == emoji


def test_every_emoji_fits_the_field() -> None:
    assert all(msgspec.convert(emoji, EmojiText) == emoji for emoji in EMOJI_DATA)
