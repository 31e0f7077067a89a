"""How secrets of authenticator apps are stored."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts.errors import Unavailable
from infra.security.key_lifecycle import KeyTerms
from infra.security.sealing_keys import TOTP, SealingKeys
from services.auth.second_factor.sealing import SecretSeal

SECRET = "JBSWY3DPEHPK3PXP"


def seal(folder: Path) -> SecretSeal:
    return SecretSeal(SealingKeys(TOTP, folder, KeyTerms(lead=timedelta(0), life=timedelta(0))))


def rotate(folder: Path, *, days_ago: int) -> str:
    return TOTP.rotate(folder, datetime.now(UTC) - timedelta(days=days_ago))


def test_a_sealed_secret_is_opened_for_its_user_alone(tmp_path: Path) -> None:
    rotate(tmp_path, days_ago=1)
    sealed = seal(tmp_path).seal("anna", SECRET)
    assert SECRET not in sealed.ciphertext
    assert seal(tmp_path).open("anna", sealed) == SECRET
    assert seal(tmp_path).seal("anna", SECRET).ciphertext != sealed.ciphertext
    with pytest.raises(Unavailable):
        seal(tmp_path).open("boris", sealed)


def test_a_rotation_leaves_old_secrets_readable_and_a_renewal_brings_them_to_the_new_key(tmp_path: Path) -> None:
    rotate(tmp_path, days_ago=2)
    before = seal(tmp_path).seal("anna", SECRET)
    assert seal(tmp_path).renewed("anna", before, SECRET) is before
    new_key = rotate(tmp_path, days_ago=1)
    assert seal(tmp_path).open("anna", before) == SECRET
    renewed = seal(tmp_path).renewed("anna", before, SECRET)
    assert renewed.key == new_key[-8:]
    assert seal(tmp_path).open("anna", renewed) == SECRET


def test_without_the_key_codes_cannot_be_checked_and_an_operator_reads_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lost, other = tmp_path / "lost", tmp_path / "other"
    lost.mkdir()
    other.mkdir()
    key = rotate(lost, days_ago=1)
    sealed = seal(lost).seal("anna", SECRET)
    rotate(other, days_ago=1)
    (other / f"totp-{key}.key").write_bytes(b"x" * 32)
    for folder in (tmp_path, other):
        caplog.clear()
        with caplog.at_level(logging.ERROR), pytest.raises(Unavailable, match="recovery code"):
            seal(folder).open("anna", sealed)
        assert f"totp-*-{key[-8:]}.key" in caplog.text
        assert SECRET not in caplog.text
    with pytest.raises(Unavailable):
        seal(tmp_path).seal("anna", SECRET)
    # Logins with a recovery code go on.
    assert seal(tmp_path).renewed("anna", sealed, SECRET) is sealed
