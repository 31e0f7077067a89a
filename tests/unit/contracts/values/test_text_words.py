"""Texts are split into the words that they are found by, in any script, without case and accents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.values.text_words import LONGEST_WORD, Segment, index_words, pairs, segments


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World-wide web_page 2.0!", ["hello", "world", "wide", "web", "page", "2", "0"]),
        ("Ещё ёлка", ["еще", "елка"]),
        ("Ещё ёлка".replace("ё", "е\u0308"), ["еще", "елка"]),
        # й is no и with an accent, however it is written.
        ("Новый Йод", ["новый", "йод"]),
        ("Новы\u0438\u0306 \u0418\u0306од", ["новый", "йод"]),
        ("Straße İSTANBUL ﬁne Ｗｉｄｅ", ["strasse", "istanbul", "fine", "wide"]),
        ("e\u0301te\u0301 \u0301 soft\u00adware\u200b", ["ete", "software"]),
        ("שָׁלוֹם مُحَمَّد", ["שלום", "محمد"]),
        ("हिन्दी कि", ["हिन्दी", "कि"]),
        ("iPhone手机", ["iphone", "手机", "机"]),
        ("北京。京", ["北京", "京", "京"]),
        ("ดี", ["ดี", "ี"]),
        ("🎉 👍🏽 ❤️", ["🎉", "👍", "❤"]),
        ("🇷🇺", ["🇷🇺", "🇺"]),
        ("!?… «»\u202e'\":*&|()", []),
        ("x" * 70, ["x" * LONGEST_WORD]),
        ("и" * 70, ["и" * LONGEST_WORD]),
    ],
)
def test_a_text_is_split_into_folded_words_and_pairs(text: str, words: list[str]) -> None:
    assert index_words(text) == words


@given(st.text(max_size=60))
def test_words_are_letters_digits_and_symbols_that_no_syntax_uses(text: str) -> None:
    words = index_words(text)
    assert all(words)
    assert not set("".join(words)) & set(" '\"\\:*&|!()<>%_\x00")
    assert all(len(word) <= LONGEST_WORD for word in words)


@given(st.text(max_size=60))
def test_segments_are_the_same_words_and_know_their_characters(text: str) -> None:
    parsed = segments(text)
    words: list[str] = []
    for segment in parsed:
        words += pairs(segment.text) if segment.spaceless else [segment.text[:LONGEST_WORD]]
    assert words == index_words(text)
    origins = [origin for segment in parsed for origin in segment.origins]
    assert origins == sorted(origins)
    assert all(0 <= origin < len(text) for origin in origins)


@given(
    st.one_of(
        st.text(alphabet="abż ж.1", max_size=60),
        st.text(max_size=60),
        st.text(alphabet=st.characters(max_codepoint=0x7F), max_size=60),
    ),
    st.frozensets(st.sampled_from("abzж1\u0301")),
)
def test_words_with_other_initials_alone_may_be_left_out(text: str, initials: frozenset[str]) -> None:
    def from_initials(parsed: list[Segment]) -> list[tuple[str, list[int]]]:
        selected = [segment for segment in parsed if segment.spaceless or segment.text[0] in initials]
        return [(segment.text, list(segment.origins)) for segment in selected]

    assert from_initials(segments(text, initials)) == from_initials(segments(text))
    assert not text.isascii() or len(segments(text, initials)) == len(from_initials(segments(text)))


@given(st.text(alphabet=st.characters(max_codepoint=0x7F), max_size=60))
def test_ascii_has_the_same_words_beside_other_letters(text: str) -> None:
    assert index_words(f"{text} ж") == [*index_words(text), "ж"]
