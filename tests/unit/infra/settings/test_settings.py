"""Settings: read once, each value checked, each documented."""

from pathlib import Path

import msgspec
import pytest

from infra import url_files
from infra.settings import BadSetting, Settings, describe, split_address


def test_without_an_environment_the_defaults_hold() -> None:
    assert Settings.load({}, None) == Settings()


def test_the_environment_wins_over_the_env_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("VESTNIK_PORT=9000\nVESTNIK_REPLICAS=2\n")
    settings = Settings.load({"VESTNIK_PORT": "9001"}, file)
    assert (settings.port, settings.replicas) == (9001, 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VESTNIK_PORT", "http"),
        ("VESTNIK_PORT", "65536"),
        ("VESTNIK_BCRYPT_COST", "3"),
        ("VESTNIK_RATE_LIMITS", "maybe"),
        ("VESTNIK_STREAM_REPLICAS", "2"),
        ("VESTNIK_STREAM_PLACEMENT", "east/ssd,"),
        ("VESTNIK_DRAIN_SECONDS", "0"),
    ],
)
def test_an_impossible_value_is_named(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=name):
        Settings.load({name: value}, None)


def test_a_database_that_is_no_postgresql_is_refused_without_its_password() -> None:
    with pytest.raises(BadSetting, match="VESTNIK_DATABASE_URL") as refused:
        Settings.load({"VESTNIK_DATABASE_URL": "mysql://me:secret@host/db"}, None)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["postgresql://me:%secret@host/db", "postgresql://me:secret@host/db?no_such=1"])
def test_a_database_url_that_libpq_cannot_read_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(BadSetting, match="VESTNIK_DATABASE_URL is not valid") as refused:
        Settings.load({"VESTNIK_DATABASE_URL": url}, None)
    assert "secret" not in str(refused.value)


def test_a_setting_that_does_not_exist_is_named() -> None:
    with pytest.raises(BadSetting, match="VESTNIK_PROT"):
        Settings.load({"VESTNIK_PROT": "1"}, None)


def test_settings_survive_the_way_through_an_environment() -> None:
    settings = Settings.load({"VESTNIK_DATA_DIR": "/somewhere", "VESTNIK_STREAM_REPLICAS": "3"}, None)
    assert Settings.load(settings.environment(), None) == settings


def test_a_url_in_a_file_stays_in_it_on_the_way_through_an_environment(tmp_path: Path) -> None:
    file = tmp_path / "database-url"
    file.write_text("postgresql://me:secret@host/db\n")
    settings = Settings.load({"VESTNIK_DATABASE_URL": "", "VESTNIK_DATABASE_URL_FILE": str(file)}, None)
    assert url_files.read(settings.database_url) == "postgresql://me:secret@host/db"
    environment = settings.environment()
    assert "secret" not in str(environment)
    assert Settings.load(environment, None) == settings


@pytest.mark.parametrize("name", ["VESTNIK_NATS_URL", "VESTNIK_DATABASE_URL", "VESTNIK_SMTP_URL"])
def test_a_url_is_set_by_its_value_or_by_its_file(name: str) -> None:
    with pytest.raises(BadSetting, match=f"{name} and {name}_FILE are both set") as refused:
        Settings.load({name: "postgresql://me:secret@host", f"{name}_FILE": "/run/url"}, None)
    assert "secret" not in str(refused.value)


def test_a_file_of_another_database_is_refused_without_its_password(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("mysql://me:secret@host/db")
    with pytest.raises(BadSetting, match="VESTNIK_DATABASE_URL") as refused:
        Settings.load({"VESTNIK_DATABASE_URL_FILE": str(file)}, None)
    assert "secret" not in str(refused.value)


def test_every_setting_is_documented() -> None:
    assert [setting.name for setting in describe() if not setting.description] == []


def test_several_addresses_are_several_replicas() -> None:
    settings = Settings(addresses={"auth": "127.0.0.1:1, [::1]:2"})
    assert settings.addresses_of("auth") == [("127.0.0.1", 1), ("::1", 2)]


def test_a_name_in_dns_is_no_listed_address_and_can_stand_beside_one() -> None:
    settings = Settings.load({"VESTNIK_AUTH_ADDRESS": "dns:///auth-headless:7001, 127.0.0.1:1"}, None)
    assert settings.names_of("auth") == [("auth-headless", 7001)]
    assert settings.addresses_of("auth") == [("127.0.0.1", 1)]
    assert settings.names_of("session") == []


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("dns:///auth", "dns:///host:port"),
        ("dns://auth", "dns:///host:port"),
        ("dns://auth:7001", "dns:///host:port"),
        ("dns://1.1.1.1/auth:7001", "dns:///host:port"),
        ("dns:///:7001", "dns:///host:port"),
        ("127.0.0.1:1,dns:///auth:", "dns:///host:port"),
        ("http://auth:80", "host:port"),
    ],
)
def test_a_bad_address_of_a_service_is_refused_at_the_start_with_its_variable(text: str, form: str) -> None:
    with pytest.raises(BadSetting, match=f"VESTNIK_AUTH_ADDRESS: .* is not {form}$"):
        Settings.load({"VESTNIK_AUTH_ADDRESS": text}, None)


def test_a_process_whose_service_is_a_name_says_which_address_to_listen_on() -> None:
    settings = Settings(addresses={"profile": "dns:///profile:7003", "profile_rest": "dns:///profile:7004"})
    with pytest.raises(BadSetting, match=r"VESTNIK_LISTEN must be set, as 0.0.0.0:7003: VESTNIK_PROFILE_ADDRESS"):
        settings.listen_address("profile")
    with pytest.raises(BadSetting, match=r"VESTNIK_REST_LISTEN must be set, as 0.0.0.0:7004"):
        settings.listen_address("profile_rest")
    assert msgspec.structs.replace(settings, listen="0.0.0.0:7003").listen_address("profile") == ("0.0.0.0", 7003)


@pytest.mark.parametrize("text", ["", "localhost", "localhost:", ":80", "localhost:x", "localhost:70000"])
def test_what_is_not_an_address_is_refused(text: str) -> None:
    with pytest.raises(BadSetting):
        split_address(text)
