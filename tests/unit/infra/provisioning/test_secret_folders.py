"""The secrets of a deployment: each party gets what it needs and no more, and nothing is overwritten."""

import fcntl
import os
import re
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from cryptography import x509
from psycopg.conninfo import conninfo_to_dict

from contracts.services import REGISTRY
from contracts.subjects import BUCKETS, DATA_KEYS
from infra.cli.system.deployment_secrets import deployment_secrets
from infra.provisioning import secret_folders
from infra.provisioning.secret_folders import BadHost, Servers, make
from infra.security import position_keys
from infra.security.access_keys import AccessKeys
from infra.security.key_lifecycle import KeyTerms
from infra.security.secrets import DATABASE_PARTIES, PARTIES, Secrets
from infra.settings import Settings

SERVERS = Servers(nats=("nats-1", "nats-2:4223"), postgres=("db-1", "db-2"), public="chat.example.org")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    deployment = tmp_path_factory.mktemp("deployment")
    make(deployment, SERVERS)
    return deployment


def test_one_run_at_a_time_fills_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill, free = secret_folders._fill, list[str]()

    def filled(folder: Path, files: Mapping[str, bytes]) -> None:
        with (tmp_path / "secrets" / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                free.append(folder.name)
            except BlockingIOError:
                pass
        fill(folder, files)

    monkeypatch.setattr(secret_folders, "_fill", filled)
    assert make(tmp_path, SERVERS)
    assert free == []


def test_the_guide_to_own_servers_gives_each_process_the_same_files(folder: Path) -> None:
    page = (Path(__file__).parents[4] / "docs/howto/use-your-own-servers.md").read_text()
    table = page.partition("| process | files")[2].partition("\n\n")[0]
    rows = dict(line.strip("| ").split(" | ") for line in table.splitlines()[2:])
    for party in PARTIES:
        cell = rows["every one"].replace("service-auth", f"service-{party}") + rows.get(party, "")
        cell += rows["every one but the notary"] if party != "notary" else ""
        patterns = re.findall(r"`([^`]+\.[a-z]+)`", cell.partition("(")[0] + cell.partition(")")[2])
        in_folder = {path.name for path in (folder / party).iterdir()}
        listed = {name for name in in_folder if any(fnmatch(name, pattern) for pattern in patterns)}
        # The others are URLs and certificates.
        assert all(name.startswith(("tls-", "edge.")) or name.endswith("-url") for name in in_folder - listed)
        assert [pattern for pattern in patterns if not any(fnmatch(name, pattern) for name in listed)] in (
            [],
            ["operators.json"],  # before there is an operator
        )


def test_the_certificate_that_browsers_see_ends_first(folder: Path) -> None:
    first = min((folder / "secrets").glob("server-*.pem"), key=_ends)
    assert first.name == "server-edge.pem"


def _ends(path: Path) -> datetime:
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc


def test_each_service_has_its_own_keys_and_its_logins_alone(folder: Path) -> None:
    all_secrets = Secrets.load(folder / "secrets")
    names = {party: {path.name for path in (folder / party).iterdir()} for party in REGISTRY}
    for party in REGISTRY:
        own_files = {f"service-{party}.pem", f"tls-{party}.pem", f"tls-{party}.key"}
        common = {"services.json", "tls-ca.pem", "nats-url"} | (
            {"database-url"} if party in DATABASE_PARTIES else set()
        )
        foreign = [
            name for name in names[party] if name.startswith(("service-", "tls-")) and name not in own_files | common
        ]
        assert (own_files | common) <= names[party]
        assert foreign == []
        Secrets.load(folder / party).service_key(party)
        assert Secrets.load(folder / party).logs_key == all_secrets.logs_key
        servers = (folder / party / "nats-url").read_text().split(",")
        login = f"{party}:{all_secrets.nats_password(party)}"
        assert servers == [f"tls://{login}@nats-1:4222", f"tls://{login}@nats-2:4223"]
    assert [party for party in names if "password.key" in names[party]] == ["auth"]
    assert [party for party in names if any(name.startswith("access-") for name in names[party])] == ["session"]
    assert [party for party in names if any(name.startswith("positions-") for name in names[party])] == ["gateway"]
    readers = {party for party in names if any(name.startswith("personal-data-") for name in names[party])}
    assert readers == {"auth", *BUCKETS[DATA_KEYS].readers}
    assert not any(name == "tls-ca.key" or name.endswith(".password") for party in names for name in names[party])
    url = conninfo_to_dict((folder / "auth" / "database-url").read_text())
    assert (url["host"], url["port"], url["user"]) == ("db-1,db-2", "5432,5432", "vestnik_auth")
    assert (url["sslmode"], url["target_session_attrs"]) == ("verify-full", "read-write")
    assert url["password"] == all_secrets.database_password("auth")


def test_every_process_finds_its_keys_in_its_folder(folder: Path) -> None:
    terms = KeyTerms.of(Settings())
    auth, gateway = Secrets.load(folder / "auth"), Secrets.load(folder / "gateway")
    assert all((auth.claims_key, auth.mail_key, auth.password_key, auth.devices_key, gateway.limits_key))
    auth.totp_keys(terms).current()
    assert auth.personal_data_keys(terms).current().tag == gateway.personal_data_keys(terms).current().tag
    gateway.position_keys(terms)
    assert gateway.jwks_path.exists()
    session = Secrets.load(folder / "session")
    session.signing_keys(terms)
    assert session.refresh_key


def test_only_the_owner_reads_the_files(folder: Path) -> None:
    modes = {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in folder.rglob("*") if path.name != ".lock"}
    assert modes == {0}


def test_a_second_run_keeps_everything_and_passes_on_what_changed(tmp_path: Path) -> None:
    make(tmp_path, SERVERS)
    before = contents(tmp_path)
    make(tmp_path, msgspec.structs.replace(SERVERS, smtp_url="smtp://elsewhere"))
    after = contents(tmp_path)
    # The verifiers in it have a new salt each time.
    for verifiers in (before, after):
        del verifiers["postgres/logins.sql"]
    assert after == before
    now = datetime.now(UTC)
    keys = AccessKeys(tmp_path / "secrets", KeyTerms.of(Settings()))
    [old] = [key.key_id for key in keys.listed(now)]
    [new] = [key.key_id for key in keys.rotate(now, at_once=True)]
    position_keys.FILES.rotate(tmp_path / "secrets", now)
    (tmp_path / "secrets" / "server-edge.pem").unlink()
    make(tmp_path, SERVERS)
    names = {path.name for path in (tmp_path / "session").iterdir()}
    assert (f"access-{old}.pem" in names, f"access-{new}.pem" in names) == (False, True)
    assert (tmp_path / "gateway" / "jwks.json").read_bytes() == (tmp_path / "secrets" / "jwks.json").read_bytes()
    assert len(position_keys.FILES.ids(tmp_path / "gateway")) == 2
    certificate = (tmp_path / "secrets" / "server-edge.pem").read_bytes()
    assert (tmp_path / "edge" / "server.pem").read_bytes() == certificate != before["edge/server.pem"]


def test_a_host_that_would_break_a_url_is_refused() -> None:
    for host in ("", "a,b", "a@b", "-x", "a b", 'a"', "a:b"):
        with pytest.raises(BadHost):
            Servers(nats=(host,))


def test_the_command_makes_the_folders_and_records_that_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # No system runs with the data directory here.
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "deployment"
    ran = CliRunner().invoke(deployment_secrets, [str(folder), "--public-host", "chat.example.org"])
    assert ran.exit_code == 0, ran.output
    assert {path.name for path in folder.iterdir()} >= {"secrets", *REGISTRY, "topology", "nats", "postgres", "edge"}
    assert "deployment.secrets" in (folder / "secrets" / "operator-actions.jsonl").read_text()


def test_the_command_says_that_it_keeps_another_mail_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def run(*options: str) -> str:
        ran = CliRunner().invoke(deployment_secrets, ["deployment", *options])
        assert ran.exit_code == 0, ran.output
        return ran.output

    assert "mail server" not in run()
    assert "deployment/secrets/smtp-url is kept" in run("--smtp-url", "smtp://mail.example.org")
    Path("deployment/secrets/smtp-url").write_text("smtp://mail.example.org\n")
    assert "mail server" not in run("--smtp-url", "smtp://mail.example.org")
    assert "mail server" not in run()
    assert Path("deployment/auth/smtp-url").read_text() == "smtp://mail.example.org\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives the folders to their users")
def test_the_users_of_the_folders_may_enter_the_one_above_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        make(tmp_path / "deployment", Servers())
    finally:
        os.umask(before)
    assert (tmp_path / "deployment").stat().st_mode & 0o777 == 0o711
