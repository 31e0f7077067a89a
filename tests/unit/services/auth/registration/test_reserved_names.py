"""Usernames that cannot be registered."""

import pytest

from services.auth.registration.reserved_names import is_reserved


@pytest.mark.parametrize(
    "name", ["admin", "Admin", "support", "operator", "vestnik", "root", "SYSTEM", "ad.min", "_root_", "no_reply"]
)
def test_names_of_the_operators_are_reserved_however_they_are_spelled(name: str) -> None:
    assert is_reserved(name)


@pytest.mark.parametrize("name", ["anna", "rooted", "admin7", "a.systematic", "___", "..."])
def test_other_names_are_not(name: str) -> None:
    assert not is_reserved(name)
