"""Keys of access tokens: their states over time, and the folder after a rotation or a crash."""

import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import durable_files
from infra.security.access_keys import AccessKeys, NoAccessKey, SigningKeys, key_ids, make, published
from infra.security.key_lifecycle import KeyState, KeyTerms, key_states, made_at
from infra.security.secrets import Secrets

LEAD, LIFE, MARGIN = timedelta(minutes=10), timedelta(minutes=15), timedelta(minutes=1)
TERMS = KeyTerms(lead=LEAD, life=LIFE)
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Secrets.create(tmp_path)
    for path in tmp_path.glob("access-*.pem"):
        path.unlink()
    make(tmp_path, NOW - timedelta(days=30))
    return tmp_path


def states(folder: Path, now: datetime) -> list[KeyState]:
    return [key.state for key in AccessKeys(folder, TERMS).listed(now)]


def test_a_new_key_is_published_then_signs_and_the_old_one_verifies_then_retires(folder: Path) -> None:
    AccessKeys(folder, TERMS).rotate(NOW)
    second = timedelta(seconds=1)
    assert published(folder) == set(key_ids(folder))
    assert states(folder, NOW) == [KeyState.SIGNING, KeyState.PUBLISHED]
    assert states(folder, NOW + LEAD - second) == [KeyState.SIGNING, KeyState.PUBLISHED]
    assert states(folder, NOW + LEAD) == [KeyState.VERIFYING, KeyState.SIGNING]
    retired = NOW + LEAD + LIFE + MARGIN
    assert states(folder, retired - second) == [KeyState.VERIFYING, KeyState.SIGNING]
    assert states(folder, retired) == [KeyState.RETIRED, KeyState.SIGNING]


def test_a_retired_key_is_taken_away_and_no_other(folder: Path) -> None:
    keys = AccessKeys(folder, TERMS)
    (old,) = key_ids(folder)
    keys.rotate(NOW)
    assert keys.tidy(NOW + LEAD) == []
    assert keys.tidy(NOW + LEAD + LIFE + MARGIN) == [old]
    assert old not in published(folder)
    assert published(folder) == set(key_ids(folder))
    assert len(key_ids(folder)) == 1


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=6), st.integers(-100, 20_000))
def test_exactly_one_key_signs_at_any_time_and_no_key_before_it_was_published_long_enough(
    times: list[int], when: int
) -> None:
    ids = [f"{NOW + timedelta(seconds=second):%Y%m%dT%H%M%SZ}-{number:08x}" for number, second in enumerate(times)]
    now = NOW + timedelta(seconds=when)
    keys = key_states(ids, TERMS, now)
    (signing,) = [key for key in keys if key.state is KeyState.SIGNING]
    assert signing is keys[0] or signing.made_at + LEAD <= now
    for before, after in pairwise(keys):
        # The key that verifies a token signed at the last moment is published until that token expires.
        if before.state is KeyState.RETIRED:
            assert after.signs_from + LIFE < now


def test_a_running_process_signs_with_the_new_key_as_soon_as_it_may_and_not_before(folder: Path) -> None:
    clock = Clock()
    signing = SigningKeys(folder, TERMS, clock=clock, monotonic=clock.monotonic)
    old, _ = signing.current()
    keys = AccessKeys(folder, TERMS).rotate(NOW)
    clock.now += LEAD - timedelta(seconds=5)
    assert signing.current()[0] == old
    clock.now += timedelta(seconds=5)
    assert signing.current()[0] == keys[-1].key_id


def test_nothing_is_signed_with_a_key_that_is_not_published(folder: Path) -> None:
    """As after a crash, or a file copied to one machine and not to the others."""
    (old,) = key_ids(folder)
    jwks = (folder / "jwks.json").read_bytes()
    make(folder, NOW - timedelta(days=1))
    (folder / "jwks.json").write_bytes(jwks)
    assert SigningKeys(folder, TERMS, clock=lambda: NOW).current()[0] == old


def test_a_crash_in_a_rotation_leaves_what_verifies_everything_that_is_signed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_replace, writes_left = durable_files.replace, [0]

    def dying(path: Path, content: bytes) -> None:
        if writes_left[0] == 0:
            raise KeyboardInterrupt
        writes_left[0] -= 1
        real_replace(path, content)

    monkeypatch.setattr("infra.security.access_keys.replace", dying)
    for writes in (0, 1):
        writes_left[0] = writes
        with pytest.raises(KeyboardInterrupt):
            AccessKeys(folder, TERMS).rotate(NOW)
        assert SigningKeys(folder, TERMS, clock=lambda: NOW + LEAD).current()[0] in published(folder)
    monkeypatch.setattr("infra.security.access_keys.replace", real_replace)
    AccessKeys(folder, TERMS).rotate(NOW)
    assert published(folder) == set(key_ids(folder))
    assert len(key_ids(folder)) == 2


def test_a_compromised_key_is_removed_immediately(folder: Path) -> None:
    (old,) = key_ids(folder)
    (key,) = AccessKeys(folder, TERMS).rotate(NOW, at_once=True)
    assert key.state is KeyState.SIGNING
    assert published(folder) == {key.key_id} == set(key_ids(folder))
    assert key.key_id != old
    assert SigningKeys(folder, TERMS, clock=lambda: NOW).current()[0] == key.key_id


def test_a_temporarily_unreadable_key_set_keeps_its_last_content(folder: Path) -> None:
    clock = Clock()
    signing = SigningKeys(folder, TERMS, clock=clock, monotonic=clock.monotonic)
    signing_key = signing.current()[0]
    (folder / "jwks.json").write_bytes(b"not json")
    clock.now += timedelta(seconds=5)
    assert signing.current()[0] == signing_key


def test_without_a_key_there_is_nothing_to_sign_with_or_to_follow(tmp_path: Path) -> None:
    with pytest.raises(NoAccessKey):
        SigningKeys(tmp_path, TERMS)
    with pytest.raises(NoAccessKey):
        AccessKeys(tmp_path, TERMS).rotate(NOW)


def test_a_key_from_before_ids_had_a_time_is_the_oldest(folder: Path) -> None:
    assert made_at("0a1b2c3d") < made_at(key_ids(folder)[0])


def test_rotations_at_once_leave_every_key_published(folder: Path) -> None:
    threads = [threading.Thread(target=lambda: AccessKeys(folder, TERMS).rotate(NOW)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(key_ids(folder)) == 7
    assert published(folder) == set(key_ids(folder))
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.glob("access-*.pem"))
