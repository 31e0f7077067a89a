"""The text of an error, as logs and reports show it."""

import pytest

from contracts.errors import NotFriends, error_text, first_line


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TimeoutError(), "TimeoutError"),
        (ValueError(""), "ValueError"),
        (ValueError("no number"), "no number"),
        (NotFriends(), NotFriends.__doc__),
    ],
)
def test_the_text_of_an_error_is_never_empty(error: Exception, text: str) -> None:
    assert error_text(error) == first_line(error) == text


def test_the_first_line_leaves_out_the_values_that_a_database_quotes() -> None:
    assert first_line(ValueError("duplicate key\nDETAIL: Key (name)=(anna)")) == "duplicate key"
    assert first_line(ValueError("\nDETAIL: Key (name)=(anna)")) == "ValueError"
