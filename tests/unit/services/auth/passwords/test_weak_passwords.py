"""Passwords that are guessed first."""

import pytest

from contracts.errors import Invalid
from services.auth.passwords.weak_passwords import WeakPasswords, common_passwords

WEAK = WeakPasswords(common_passwords())
# From the first hundred of every published list.
COMMON = [
    "password",
    "12345678",
    "123456789",
    "1234567890",
    "qwertyuiop",
    "football",
    "baseball",
    "11111111",
    "trustno1",
]


def refused(password: str, username: str = "anna", email: str = "petrova@example.org") -> bool:
    try:
        WEAK.check(password, username=username, email=email, path="/new_password")
    except Invalid as refusal:
        (violation,) = refusal.violations
        assert (violation.path, violation.code) == ("/new_password", "weak_password")
        assert violation.message
        return True
    return False


@pytest.mark.parametrize("password", COMMON)
def test_a_common_password_is_refused_in_upper_and_in_lower_case(password: str) -> None:
    assert refused(password)
    assert refused(password.upper())


@pytest.mark.parametrize("password", ["Susanna 2024", "ANNA1234", "x petrova@EXAMPLE.org", "Petrova-2024", "petrova.1"])
def test_a_password_that_contains_the_name_or_the_address_is_refused(password: str) -> None:
    assert refused(password)


@pytest.mark.parametrize(
    "password", ["correct horse battery staple", "example.org", "petrov and a long sentence", "пароль мой"]
)
def test_other_passwords_are_accepted(password: str) -> None:
    assert not refused(password)


def test_the_local_part_of_an_address_may_occur_in_a_long_password() -> None:
    assert not refused("0a1b1c1d7234a9f0", email="1c1d@example.org")
    assert refused("1c1d-1c1", email="1c1d@example.org")
    assert not refused("correct horse", username="", email="")


def test_the_list_has_the_common_passwords_that_are_long_enough_and_no_others() -> None:
    common = common_passwords()
    assert len(common) > 3_000
    assert min(map(len, common)) == 8
    assert all(password == password.casefold() for password in common)
