from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from infra.security.notary import keys as notary_keys
from infra.security.notary.keys import NoNotaryKey, NotaryKeys

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def published(folder: Path) -> list[str]:
    return [key["kid"] for key in msgspec.json.decode((folder / "notary.json").read_bytes())["keys"]]


def test_the_newest_key_signs_and_is_published(tmp_path: Path) -> None:
    key_id = notary_keys.make(tmp_path, NOW)
    keys = NotaryKeys(tmp_path)
    assert keys.current()[0] == key_id
    jwk = jwt.PyJWKSet.from_json(keys.jwks.decode())[key_id]
    raw = jwk.key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert raw == keys.current()[1].public_key().public_bytes_raw()
    assert b'"d"' not in keys.jwks


def test_a_rotation_leaves_the_public_halves_of_all_keys_and_the_private_half_of_the_new_one(tmp_path: Path) -> None:
    clock = [0.0]
    first = notary_keys.make(tmp_path, NOW)
    keys = NotaryKeys(tmp_path, monotonic=lambda: clock[0])
    others = [notary_keys.rotate(tmp_path, NOW + timedelta(days=day)) for day in (1, 2)]
    assert keys.current()[0] == first
    clock[0] = 1.0
    assert keys.current()[0] == others[-1]
    assert notary_keys.key_ids(tmp_path) == [others[-1]]
    assert published(tmp_path) == [first, *others]


def test_a_key_that_is_not_published_does_not_sign(tmp_path: Path) -> None:
    first = notary_keys.make(tmp_path, NOW)
    jwks = (tmp_path / "notary.json").read_bytes()
    notary_keys.make(tmp_path, NOW + timedelta(days=1))
    (tmp_path / "notary.json").write_bytes(jwks)
    assert NotaryKeys(tmp_path).current()[0] == first


def test_the_key_read_last_stays_in_use_while_the_folder_cannot_be_read(tmp_path: Path) -> None:
    clock = [0.0]
    key_id = notary_keys.make(tmp_path, NOW)
    keys = NotaryKeys(tmp_path, monotonic=lambda: clock[0])
    (tmp_path / "notary.json").write_bytes(b"not json")
    clock[0] = 1.0
    assert keys.current()[0] == key_id


def test_a_folder_without_a_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoNotaryKey, match=str(tmp_path)):
        NotaryKeys(tmp_path)
