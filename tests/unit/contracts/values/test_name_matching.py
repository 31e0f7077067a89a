"""Names are compared without case and accents, in any script, and indexed by forms that tolerate a typo."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.values.name_matching import HEADS, index_keys, normalize, pad_words, query_keys, segments

LETTERS = "abcdeжзий"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ŻÓŁW", "zolw"),
        ("Ёлка", "елка"),
        ("Straße", "STRASSE"),
        ("Ｗｉｄｅ", "wide"),
        ("İstanbul", "ıstanbul"),
        ("Ångström", "a\u030angstro\u0308m"),
        ("Ørsted", "orsted"),
        ("Қазақ", "казак"),
        ("שָׁלוֹם", "שלום"),
        ("مُحَمَّد", "محمد"),
        ("anna\u200d\u202eb", "annab"),
        ("  Anna \t Orlova ", "anna orlova"),
        ("Ὀδυσσεύς", "οδυσσευσ"),
        ("ﬁn", "fin"),
    ],
)
def test_what_does_not_count_is_folded_away(one: str, other: str) -> None:
    assert normalize(one) == normalize(other)


@pytest.mark.parametrize(("one", "other"), [("か", "が"), ("कि", "कु"), ("ก", "กุ"), ("anna", "ann"), ("a_b", "a.b")])
def test_what_makes_another_name_counts(one: str, other: str) -> None:
    assert normalize(one) != normalize(other)


@given(st.text(max_size=70))
def test_folding_is_done_once_and_for_all(text: str) -> None:
    folded = normalize(text)
    assert normalize(folded) == folded
    assert normalize(folded.upper().lower()) == normalize(folded.upper().lower())
    assert "".join(segment for segment, _ in segments(folded)) == folded.replace(" ", "")


def test_digits_and_punctuation_stand_between_words() -> None:
    assert segments("anna_ж17 🙂b") == [
        ("anna", True),
        ("_", False),
        ("ж", True),
        ("17", False),
        ("🙂", False),
        ("b", True),
    ]
    assert pad_words("anna_ж17 b") == " anna _ ж 17 b "


@st.composite
def with_typo(draw: st.DrawFn) -> tuple[str, str]:
    """A word and its variant with one typo."""
    word = draw(st.text(LETTERS, min_size=4, max_size=12))
    index = draw(st.integers(0, len(word) - 1))
    letter = draw(st.sampled_from(LETTERS))
    misspelled = draw(
        st.sampled_from(
            [
                word[:index] + letter + word[index:],
                word[:index] + letter + word[index + 1 :],
                word[:index] + word[index + 1 :],
                word[:index] + word[index : index + 2][::-1] + word[index + 2 :],
            ]
        )
    )
    return word, misspelled


@given(with_typo())
def test_a_word_with_a_typo_has_a_form_in_common_with_the_word(words: tuple[str, str]) -> None:
    word, misspelled = words
    if len(misspelled) >= min(HEADS):
        assert {*index_keys(word).split()} & {*query_keys(misspelled)}


def test_a_long_name_brings_no_more_into_the_index_than_a_name_may() -> None:
    assert len(index_keys(" ".join(["word" + "x" * index for index in range(60)])).split()) <= 12 * sum(HEADS)
    assert (query_keys("li"), query_keys("l"), index_keys("li l")) == (["li"], [], "li ")
