"""A query finds names with a typo, and no unrelated ones."""

import re

import pytest

from contracts.values.name_matching import index_keys, normalize, pad_words
from services.profile.search_terms import SearchQuery, parse_query


def tier(query: str, *names: str) -> int | None:
    """The tier in which a query finds a person's names, computed as the database does; None if it does not."""
    search: SearchQuery = parse_query(query)
    if search.prefix and any(normalize(name).startswith(search.prefix) for name in names):
        return 1
    words = "".join(pad_words(normalize(name)) for name in names)
    known = {form for name in names for form in index_keys(normalize(name)).split()}
    if not search.forms or not all(known & {*forms} for forms in search.forms):
        return None
    if all(re.search(pattern, words) for pattern in search.typed):
        return 2
    return 3 if all(re.search(pattern, words) for pattern in search.near) else None


@pytest.mark.parametrize(
    ("query", "names", "found"),
    [
        ("bor", ["boris"], 1),
        ("BORIS", ["boris"], 1),
        ("orlova", ["anna", "Anna Orlova"], 2),
        ("orlova anna", ["x", "Anna Orlova"], 2),
        ("borsi", ["boris"], 3),
        ("borris", ["boris"], 3),
        ("bris", ["boris"], 3),
        ("voris", ["boris"], 3),
        ("boriz", ["boris"], 3),
        ("alexn", ["Alexander"], 3),
        ("alexnader", ["Alexander"], 3),
        ("alexnadre", ["Alexander"], 3),
        ("jonh smiht", ["js", "John Smith"], 3),
        ("ana_smiht", ["ana_smith"], 3),
        ("anna_simth17", ["anna_smith17"], 3),
        ("Аненчка", ["Анечка"], 3),
        ("żólw", ["Żółw"], 1),
        ("zlów", ["Żółw"], 3),
        ("li", ["anna", "Anna Li"], 2),
        ("kim", ["x", "Ann Kim"], 2),
        ("太郎", ["tt", "田中 太郎"], 2),
        ("田中", ["tt", "田中太郎"], 1),
    ],
)
def test_it_is_found(query: str, names: list[str], found: int) -> None:
    assert tier(query, *names) == found


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("mari", ["martin"]),
        ("mari", ["ariel"]),
        ("lve", ["lev"]),
        ("li", ["anna", "Anna Lina"]),
        ("kim", ["anna", "Ann Kimura"]),
        ("lim", ["anna", "Ann Slim"]),
        ("l", ["anna", "Anna L"]),
        ("anna18", ["anna17"]),
        ("anna_", ["anna.b"]),
        ("anna%", ["anna_b"]),
        ("ann_", ["anna"]),
        ("%", ["anna"]),
        ("_", ["anna"]),
        ("\\", ["anna"]),
        ("a.*", ["anna"]),
        ("anna(", ["anna"]),
        ("anna (?i)", ["anna"]),
        ("[^ ]+", ["anna"]),
        ("***=anna", ["anna"]),
        ("\u202e\u200d", ["anna"]),
        ("🙂", ["anna"]),
        ("smith", ["Smyuth Jones"]),
        ("anna orlova", ["Anna Petrova"]),
    ],
)
def test_it_is_not_found(query: str, names: list[str]) -> None:
    assert tier(query, *names) is None


@pytest.mark.parametrize("query", ["a" * 64, "ab " * 21, "aaaa " * 12, "ﷺ" * 64, "\u0301" * 64, "🙂" * 64])
def test_an_endless_query_is_no_endless_work(query: str) -> None:
    search = parse_query(query)
    assert sum(map(len, search.near)) < 10_000
    for pattern in search.near:
        re.compile(pattern)
