"""Secrets: made once, kept, and readable only by their owner."""

import threading
from datetime import timedelta
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner

from infra.cli.accounts.keys import keys
from infra.security.key_lifecycle import KeyTerms
from infra.security.secrets import MissingSecret, Secrets

TERMS = KeyTerms(lead=timedelta(seconds=600), life=timedelta(seconds=900))


def test_existing_secrets_are_kept(tmp_path: Path) -> None:
    first = Secrets.create(tmp_path)
    second = Secrets.create(tmp_path)
    assert first.claims_key == second.claims_key
    assert first.nats_passwords() == second.nats_passwords()
    assert first.signing_keys(TERMS).current()[0] == second.signing_keys(TERMS).current()[0]


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    Secrets.create(folder)
    assert folder.stat().st_mode & 0o077 == 0
    assert [path.name for path in folder.iterdir() if path.suffix and path.stat().st_mode & 0o077] == []


def test_a_token_signed_with_the_access_key_is_good_for_the_published_keys(tmp_path: Path) -> None:
    secrets = Secrets.create(tmp_path)
    kid, key = secrets.signing_keys(TERMS).current()
    token = jwt.encode({"sub": "someone"}, key, algorithm="EdDSA", headers={"kid": kid})
    published = jwt.PyJWKSet.from_json(secrets.jwks_path.read_text())[kid]
    assert jwt.decode(token, published, algorithms=["EdDSA"]) == {"sub": "someone"}


def test_the_published_keys_hold_no_private_part(tmp_path: Path) -> None:
    assert b'"d"' not in Secrets.create(tmp_path).jwks_path.read_bytes()


def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingSecret, match=r"claims\.key"):
        _ = Secrets.load(tmp_path).claims_key


def test_secrets_made_concurrently_are_made_once(tmp_path: Path) -> None:
    refresh_keys: list[bytes] = []

    def make() -> None:
        refresh_keys.append(Secrets.create(tmp_path).refresh_key)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refresh_keys) == 8
    assert len(set(refresh_keys)) == 1


def test_the_command_gives_every_service_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = Secrets.create(tmp_path)
    before = secrets.service_public_keys()
    monkeypatch.setenv("VESTNIK_SECRETS_DIR", str(tmp_path))
    result = CliRunner().invoke(keys, ["rotate-services", "--reason", "a test"])
    assert result.exit_code == 0, result.output
    after = secrets.service_public_keys(fresh=True)
    for party, (present, previous) in after.items():
        assert [previous] == before[party]
        assert present == secrets.service_key(party, fresh=True).public_key()
