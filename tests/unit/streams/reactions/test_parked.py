"""Ids of parked events."""

import pytest

from streams.reactions.parked import ParkedId


def test_an_id_is_read_as_it_is_written() -> None:
    parked = ParkedId("profile-creation", "AUTH", 17)
    assert str(parked) == "profile-creation.AUTH.17"
    assert ParkedId.parse("profile-creation.AUTH.17") == parked


@pytest.mark.parametrize("text", ["", "17", "a.AUTH", ".AUTH.1", "a..1", "a.AUTH.x", "a.AUTH.-1", "a.AUTH.1.2"])
def test_other_text_is_no_id(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        ParkedId.parse(text)
