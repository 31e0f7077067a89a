"""Queries become terms that the index understands, and what they match is marked in the original text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.values.text_words import Segment, segments
from services.messaging.search.terms import (
    LOOKED_UP,
    Stems,
    Term,
    _occurrences,
    highlights,
    index_query,
    parse_query,
    run_patterns,
    stemmed_words,
    whole_words,
)

STEMS = {"столами": "стол", "стола": "стол", "running": "run", "run": "run", "happy": "happi"}


def marked(text: str, query: str) -> list[str] | None:
    """The marked parts of the text."""
    marks = highlights(text, segments(text), parse_query(query), STEMS)
    return None if marks is None else [text[begin:end] for begin, end in marks]


@pytest.mark.parametrize(
    ("text", "query", "parts"),
    [
        ("Ну, привет!", "приве", ["приве"]),
        ("Ну, привет!", "ПРИВЕ́", ["приве"]),
        ("Ещё Ещё", "еще", ["Ещё", "Ещё"]),
        ("Еще", "ещё", ["Еще"]),
        ("cafe\u0301s", "café", ["cafe\u0301"]),
        ("cafe\u0301", "cafe", ["cafe\u0301"]),
        ("Straße 7", "stras", ["Straß"]),
        ("Straße 7", "strass", ["Straß"]),
        ("İstanbul!", "istan", ["İstan"]),
        ("ﬁne", "f", ["ﬁ"]),
        ("под столами", "стола", ["стола"]),
        ("под столами", "стол", ["стол"]),
        ("у стола", "столами", ["стола"]),
        ("I run", "running", ["run"]),
        ("so happy", "happi", ["happy"]),
        ("我们去北京了", "去北京", ["去北京"]),
        ("北京 北京", "京", ["京", "京"]),
        ("สวัสดีครับ", "ดีคร", ["ดีคร"]),
        ("ok 🎉🎉!", "🎉", ["🎉🎉"]),
        ("👍🏽 yes", "👍", ["👍"]),
        ("שלום עולם", "עול", ["עול"]),
        ("한국어", "한구", ["한국"]),
        ("one two one", "two one", ["one", "two", "one"]),
        ("one two", "one three", None),
        ("reproach", "roach", None),
        ("北, 京", "北京", None),
        ("北京", "beijing", None),
        ("и\u0306од", "йод", ["и\u0306од"]),
        ("", "one", None),
    ],
)
def test_what_the_terms_match_is_marked_in_the_text(text: str, query: str, parts: list[str] | None) -> None:
    assert marked(text, query) == parts


def test_marks_that_overlap_become_one() -> None:
    assert highlights("привет", segments("привет"), parse_query("при привет пр"), {}) == [(0, 6)]


def test_a_term_is_compared_only_with_words_of_its_initial(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []

    def count(text: str, segment: Segment, term: Term, stems: Stems) -> list[tuple[int, int]]:
        compared.append((segment.text, term.text))
        return _occurrences(text, segment, term, stems)

    monkeypatch.setattr("services.messaging.search.terms._occurrences", count)
    assert marked("ann bo 北京 ann", "a b 京") == ["a", "b", "京", "a"]
    assert compared == [("ann", "a"), ("bo", "b"), ("北京", "京"), ("ann", "a")]


@given(st.text(max_size=40), st.text(max_size=10))
def test_marks_are_parts_of_the_text_in_order_and_disjoint(text: str, query: str) -> None:
    marks = highlights(text, segments(text), parse_query(query), {}) or []
    edges = [edge for mark in marks for edge in mark]
    assert edges == sorted(set(edges))
    assert all(0 <= edge <= len(text) for edge in edges)


@given(st.text(min_size=1, max_size=40))
def test_a_text_with_words_contains_itself(text: str) -> None:
    assert not parse_query(text) or highlights(text, segments(text), parse_query(text), {})


def test_a_query_of_punctuation_has_no_terms() -> None:
    assert parse_query(" ':*' & | ! <-> () \\ \u202e % _ ") == ()


def test_terms_become_prefixes_stems_and_pairs_that_are_neighbours() -> None:
    terms = parse_query("Running 去北京 и")
    assert index_query(terms, STEMS) == "('running':* | 'run') & '去北' & '北京' & 'и':*"
    assert whole_words(terms, STEMS) == ["'running' | 'run'", "'и' | 'и'"]
    assert run_patterns(terms) == ["%去北 北京%"]


def test_few_terms_are_looked_up_and_those_are_the_longest() -> None:
    terms = parse_query(" ".join("x" * length for length in range(1, 33)))
    assert [len(term.text) for term in terms] == list(range(32, 16, -1))
    assert [len(term.text) for term in terms[:LOOKED_UP]] == list(range(32, 24, -1))


def test_stems_are_needed_for_the_terms_and_for_words_that_no_term_begins() -> None:
    terms = (Term("стола", False), Term("北京", True))
    assert stemmed_words(terms, map(segments, ["стол столами один s1 سلام", "北京"])) == {"стола", "стол"}
    assert stemmed_words((Term("abc1", False), Term("straße", False)), []) == set()
