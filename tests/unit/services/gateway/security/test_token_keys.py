"""The gateway's public keys: reloaded when the file changes, kept when it cannot be read."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.security.access_keys import key_ids, make
from infra.security.secrets import Secrets
from services.gateway.security.token_keys import NoPublishedKeys, VerifyingKeys


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Secrets.create(tmp_path)
    return tmp_path


def test_a_key_that_comes_is_known_and_one_that_goes_is_not(folder: Path) -> None:
    clock = [0.0]
    keys = VerifyingKeys(folder / "jwks.json", clock=lambda: clock[0])
    (old,) = key_ids(folder)
    assert keys.find(old) is not None
    generation = keys.generation
    new = make(folder, datetime.now(UTC))
    clock[0] += 1
    keys.reload_if_changed()
    assert (keys.find(old), keys.find(new)) != (None, None)
    assert keys.generation == generation + 1
    make(folder, datetime.now(UTC), alone=True)
    clock[0] += 1
    assert new.encode() not in keys.jwks
    assert keys.find(old) is None


def test_the_file_is_checked_once_per_second_at_most(folder: Path) -> None:
    clock = [0.0]
    keys = VerifyingKeys(folder / "jwks.json", clock=lambda: clock[0])
    new = make(folder, datetime.now(UTC))
    clock[0] += 0.9
    keys.reload_if_changed()
    assert keys.find(new) is None


def test_while_the_file_cannot_be_read_the_keys_stay(folder: Path) -> None:
    clock = [0.0]
    keys = VerifyingKeys(folder / "jwks.json", clock=lambda: clock[0])
    (old,) = key_ids(folder)
    for broken in (b"", b"{}", b'{"keys": []}', b"\xff"):
        (folder / "jwks.json").write_bytes(broken)
        clock[0] += 2
        keys.reload_if_changed()
        assert keys.find(old) is not None
    (folder / "jwks.json").unlink()
    clock[0] += 2
    keys.reload_if_changed()
    assert keys.find(old) is not None


def test_without_the_file_no_gateway_starts(tmp_path: Path) -> None:
    with pytest.raises(NoPublishedKeys, match=r"jwks\.json"):
        VerifyingKeys(tmp_path / "jwks.json")
