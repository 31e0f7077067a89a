"""Which language a client is written to in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.routes.accounts.accept_language import preferred

OFFERED = ("en", "ru")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("ru", "ru"),
        ("RU", "ru"),
        ("ru-RU", "ru"),
        ("ru-Cyrl-RU;q=0.9, en;q=0.8", "ru"),
        ("en-GB, ru;q=0.9", "en"),
        ("en;q=0.3, ru;q=0.301", "ru"),
        ("en , ru", "en"),
        ("ru,en", "ru"),
        ("de-DE,de;q=0.9,ru;q=0.5", "ru"),
        ("ru ; Q=0.5 , en;q=0.4", "ru"),
        ("ru;q=0.2, ru-RU;q=0.9, en;q=0.5", "ru"),
        ("ru;q=1.000, en;q=0.999", "ru"),
    ],
)
def test_the_language_with_the_highest_weight_wins(header: str, language: str) -> None:
    assert preferred([header], OFFERED) == language


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("*", "en"),
        ("*;q=0.1", "en"),
        ("de, *;q=0.5", "en"),
        ("en;q=0, *", "ru"),
        ("en;q=0.5, *;q=0.8", "ru"),
        ("ru;q=0.5, *;q=0.8", "en"),
        ("ru, *;q=0.1", "ru"),
    ],
)
def test_a_star_stands_for_the_languages_that_are_not_named(header: str, language: str) -> None:
    assert preferred([header], OFFERED) == language


@pytest.mark.parametrize(
    "header",
    [
        "",
        ",",
        "de",
        "rus",
        "russian-language-of-no-tag",
        "en;q=0",
        "ru;q=0",
        "ru;q=0.000, en;q=0",
        "*;q=0",
        "ru;q=2",
        "ru;q=0.1234",
        "ru;q=-1",
        "ru;q=nan",
        "ru;q=",
        "ru;",
        "ru;level=1",
        "ru;q=1;q=0",
        "ru RU",
        "ru_RU",
        "-ru",
        "ru-",
        "рус",
        "ru\x00",
    ],
)
def test_a_header_without_an_offered_language_or_malformed_means_the_first(header: str) -> None:
    assert preferred([header], OFFERED) == "en"


def test_malformed_elements_hide_none_of_the_others() -> None:
    assert preferred(["%%%, en;q=x, ;;, ru;q=0.1"], OFFERED) == "ru"


def test_several_headers_count_as_one_and_none_means_the_first() -> None:
    assert preferred(["de", "ru;q=0.5, en;q=0.4"], OFFERED) == "ru"
    assert preferred([], OFFERED) == "en"


@given(st.text(alphabet="enru*-;q=0.19, \t", max_size=60))
def test_any_header_means_one_of_the_offered(header: str) -> None:
    assert preferred([header], OFFERED) in OFFERED
