from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.security import position_keys
from infra.security.key_lifecycle import KeyTerms
from infra.security.key_ring import NoKey
from infra.security.position_keys import PositionKeys

LEAD = timedelta(minutes=10)
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.now.timestamp()

    def keys(self, folder: Path) -> PositionKeys:
        terms = KeyTerms(lead=LEAD, life=timedelta(minutes=15))
        return PositionKeys(folder, terms, clock=self, monotonic=self.monotonic)


def tag(key_id: str) -> bytes:
    return bytes.fromhex(key_id[-8:])


def test_the_first_key_encrypts_at_once_and_the_next_after_the_lead(tmp_path: Path) -> None:
    clock = Clock()
    first = position_keys.FILES.rotate(tmp_path, NOW)
    keys = clock.keys(tmp_path)
    assert keys.current().tag == tag(first)
    second = position_keys.FILES.rotate(tmp_path, NOW + timedelta(seconds=1))
    clock.now += LEAD
    assert keys.current().tag == tag(first)
    clock.now += timedelta(seconds=2)
    assert keys.current().tag == tag(second)


def test_every_key_that_is_there_is_found_and_one_that_was_just_made_too(tmp_path: Path) -> None:
    clock = Clock()
    first = position_keys.FILES.rotate(tmp_path, NOW)
    keys = clock.keys(tmp_path)
    # Another process makes it; no time has passed.
    second = position_keys.FILES.rotate(tmp_path, NOW + timedelta(seconds=1))
    assert keys.find(tag(second)) is not None
    clock.now += timedelta(days=4_000)
    assert keys.find(tag(first)) is not None
    assert keys.find(b"\0\0\0\0") is None


def test_a_compromised_key_is_removed_with_all_others(tmp_path: Path) -> None:
    clock = Clock()
    first = position_keys.FILES.rotate(tmp_path, NOW)
    keys = clock.keys(tmp_path)
    second = position_keys.FILES.rotate(tmp_path, NOW + timedelta(seconds=1), at_once=True)
    clock.now += timedelta(seconds=2)
    assert keys.current().tag == tag(second)
    assert keys.find(tag(first)) is None


def test_without_a_key_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(NoKey, match="rotate-positions"):
        Clock().keys(tmp_path)


def test_temporarily_unreadable_keys_keep_their_last_content(tmp_path: Path) -> None:
    clock = Clock()
    first = position_keys.FILES.rotate(tmp_path, NOW)
    keys = clock.keys(tmp_path)
    (tmp_path / f"positions-{first}.key").rename(tmp_path / "elsewhere")
    clock.now += timedelta(seconds=2)
    assert keys.current().tag == tag(first)
    (tmp_path / "positions-20261130T120000Z-aaaaaaaa.key").write_bytes(b"short")
    clock.now += timedelta(seconds=2)
    assert keys.current().tag == tag(first)


def test_a_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    key_id = position_keys.FILES.rotate(tmp_path, NOW)
    assert (tmp_path / f"positions-{key_id}.key").stat().st_mode & 0o777 == 0o600
