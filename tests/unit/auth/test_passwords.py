"""Passwords: their limits, their hashes, and the bound of the queue."""

import asyncio
from collections.abc import Iterator

import pytest

from contracts.errors import Invalid, Overloaded
from services.auth.passwords import Passwords


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(4)
    yield made
    made.close()


async def test_a_password_matches_its_own_hash_alone(passwords: Passwords) -> None:
    password_hash = await passwords.hash("correct horse")
    assert await passwords.matches("correct horse", password_hash)
    assert not await passwords.matches("correct house", password_hash)


async def test_without_a_hash_nothing_matches(passwords: Passwords) -> None:
    assert not await passwords.matches("correct horse", None)


@pytest.mark.parametrize("password", ["é" * 4, "x" * 8, "x" * 72, "é" * 36])
async def test_8_to_72_bytes_are_accepted(passwords: Passwords, password: str) -> None:
    assert await passwords.matches(password, await passwords.hash(password))


@pytest.mark.parametrize("password", ["x" * 7, "x" * 73, "é" * 37, ""])
async def test_other_lengths_are_refused(passwords: Passwords, password: str) -> None:
    with pytest.raises(Invalid) as refusal:
        await passwords.hash(password)
    assert refusal.value.violations[0].path == "/password"


async def test_a_longer_password_does_not_match_the_one_it_begins_with(passwords: Passwords) -> None:
    password_hash = await passwords.hash("x" * 72)
    assert not await passwords.matches("x" * 73, password_hash)


async def test_what_does_not_fit_into_the_queue_is_told_to_come_back() -> None:
    passwords = Passwords(8, workers=1, queue=1)
    try:
        answers = await asyncio.gather(
            *(passwords.matches("correct horse", None) for _ in range(5)), return_exceptions=True
        )
        refused = [answer for answer in answers if isinstance(answer, Overloaded)]
        assert len(refused) == 3
        assert refused[0].retry_after
        assert not await passwords.matches("correct horse", None)
    finally:
        passwords.close()
