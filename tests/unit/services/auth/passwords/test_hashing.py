"""Passwords: their limits, their hashes, and the bound of the queue."""

import asyncio
from collections.abc import Iterator

import bcrypt
import pytest

from contracts.errors import Invalid, Overloaded
from services.auth.domain import Hashed
from services.auth.passwords.hashing import Passwords

KEY = b"k" * 32


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    hasher = Passwords(4, KEY)
    yield hasher
    hasher.close()


async def test_a_password_matches_its_own_hash_alone(passwords: Passwords) -> None:
    hashed = await passwords.hash("correct horse")
    assert await passwords.matches("correct horse", hashed)
    assert not await passwords.matches("correct house", hashed)


async def test_without_a_hash_nothing_matches(passwords: Passwords) -> None:
    assert not await passwords.matches("correct horse", None)


def keyless_hash(password: str, cost: int = 4) -> Hashed:
    """A hash without a key, as earlier releases stored it."""
    return Hashed(password_hash=bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode())


@pytest.mark.parametrize("password", ["é" * 8, "x" * 8, "x" * 73, "x" * 1024, "é" * 512])
async def test_8_characters_to_1024_bytes_are_accepted(passwords: Passwords, password: str) -> None:
    assert await passwords.matches(password, await passwords.hash(password))


@pytest.mark.parametrize("password", ["x" * 7, "é" * 7, "x" * 1025, "é" * 513, "", "nul\0 inside"])
async def test_other_lengths_are_refused(passwords: Passwords, password: str) -> None:
    with pytest.raises(Invalid) as refusal:
        await passwords.hash(password)
    assert refusal.value.violations[0].path == "/password"


@pytest.mark.parametrize("length", [72, 73, 1023])
async def test_every_byte_of_a_password_counts(passwords: Passwords, length: int) -> None:
    hashed = await passwords.hash("x" * length + "y")
    assert not await passwords.matches("x" * length + "z", hashed)
    assert not await passwords.matches("x" * length, hashed)


async def test_a_hash_is_good_under_its_own_key_alone_and_names_it(passwords: Passwords) -> None:
    hashed = await passwords.hash("correct horse")
    other = Passwords(4, b"o" * 32)
    try:
        assert not await other.matches("correct horse", hashed)
        assert (await other.hash("correct horse")).key_id != hashed.key_id
    finally:
        other.close()
    assert hashed.scheme == "bcrypt-hmac-sha384"
    assert not bcrypt.checkpw(b"correct horse", hashed.password_hash.encode())


async def test_a_hash_from_before_there_was_a_key_goes_on_and_is_outdated(passwords: Passwords) -> None:
    keyless = keyless_hash("correct horse")
    assert await passwords.matches("correct horse", keyless)
    assert not await passwords.matches("correct house", keyless)
    assert passwords.is_outdated(keyless)
    longest = keyless_hash("x" * 72)
    assert await passwords.matches("x" * 72, longest)
    assert not await passwords.matches("x" * 73, longest)


@pytest.mark.parametrize("scheme", ["bcrypt", "bcrypt-hmac-sha384"])
@pytest.mark.parametrize("hashed_at", [None, 4, 5, 6, 7])
async def test_a_failed_check_costs_the_same_for_an_unknown_login_and_for_a_hash_of_any_lower_cost(
    hashed_at: int | None, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = None
    if hashed_at is not None:
        cheap = Passwords(hashed_at, KEY)
        hashed = await cheap.hash("correct horse")
        cheap.close()
        hashed = hashed if scheme == hashed.scheme else keyless_hash("correct horse", hashed_at)
    costs: list[int] = []
    check = bcrypt.checkpw

    def counting_check(raw: bytes, password_hash: bytes) -> bool:
        costs.append(2 ** int(password_hash.split(b"$")[2]))
        return check(raw, password_hash)

    monkeypatch.setattr(bcrypt, "checkpw", counting_check)
    passwords = Passwords(7, KEY)
    try:
        assert not await passwords.matches("wrong password", hashed)
    finally:
        passwords.close()
    assert sum(costs) == 2**7


async def test_no_password_with_a_nul_matches_the_one_that_it_begins_with(passwords: Passwords) -> None:
    hashed = await passwords.hash("correct horse")
    for password in ("correct horse\0", "correct horse\0battery", "\0correct horse", "correct\0 horse"):
        assert not await passwords.matches(password, hashed)


async def test_a_hash_is_outdated_once_the_cost_has_risen(passwords: Passwords) -> None:
    hashed = await passwords.hash("correct horse")
    assert not passwords.is_outdated(hashed)
    costlier = Passwords(5, KEY)
    assert costlier.is_outdated(hashed)
    assert await costlier.matches("correct horse", hashed)
    costlier.close()


async def test_work_that_does_not_fit_into_the_queue_is_refused_with_retry_after() -> None:
    passwords = Passwords(8, KEY, workers=1, queue=1)
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
