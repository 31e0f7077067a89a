"""Passwords: their limits, their hashes, and the bound of the queue."""

import asyncio
from collections.abc import Iterator

import bcrypt
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


@pytest.mark.parametrize("password", ["x" * 7, "x" * 73, "é" * 37, "", "nul\0 inside"])
async def test_other_lengths_are_refused(passwords: Passwords, password: str) -> None:
    with pytest.raises(Invalid) as refusal:
        await passwords.hash(password)
    assert refusal.value.violations[0].path == "/password"


async def test_a_longer_password_does_not_match_the_one_it_begins_with(passwords: Passwords) -> None:
    password_hash = await passwords.hash("x" * 72)
    assert not await passwords.matches("x" * 73, password_hash)


@pytest.mark.parametrize("hashed_at", [None, 4, 5, 6, 7])
async def test_a_no_costs_the_same_for_an_unknown_login_and_for_a_hash_of_any_lower_cost(
    hashed_at: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    password_hash = None
    if hashed_at is not None:
        cheap = Passwords(hashed_at)
        password_hash = await cheap.hash("correct horse")
        cheap.close()
    spent: list[int] = []
    check = bcrypt.checkpw

    def counted(raw: bytes, against: bytes) -> bool:
        spent.append(2 ** int(against.split(b"$")[2]))
        return check(raw, against)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    passwords = Passwords(7)
    try:
        assert not await passwords.matches("wrong password", password_hash)
    finally:
        passwords.close()
    assert sum(spent) == 2**7


async def test_no_password_with_a_nul_matches_the_one_that_it_begins_with(passwords: Passwords) -> None:
    password_hash = await passwords.hash("correct horse")
    for password in ("correct horse\0", "correct horse\0battery", "\0correct horse", "correct\0 horse"):
        assert not await passwords.matches(password, password_hash)


async def test_a_hash_is_outdated_once_the_cost_has_risen(passwords: Passwords) -> None:
    password_hash = await passwords.hash("correct horse")
    assert not passwords.is_outdated(password_hash)
    dearer = Passwords(5)
    assert dearer.is_outdated(password_hash)
    assert await dearer.matches("correct horse", password_hash)
    dearer.close()


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
