"""How commands find the running system."""

import os
from pathlib import Path

import msgspec
import pytest

from infra.runtime import run_file
from infra.runtime.data_dir import DataDirUnusable, claim
from infra.settings import Settings

FOUND = run_file.RunFile(
    pid=1,
    gateway_url="http://127.0.0.1:8080",
    nats_url="nats://127.0.0.1:4222",
    database_url="postgresql://127.0.0.1/vestnik",
    addresses={"auth": ["127.0.0.1:1", "127.0.0.1:2"]},
    metrics={},
)


def test_nothing_is_found_where_nothing_ever_ran(tmp_path: Path) -> None:
    with pytest.raises(run_file.NotRunning, match="vestnik up"):
        run_file.find(tmp_path)


def test_a_file_left_behind_by_a_crash_is_not_believed(tmp_path: Path) -> None:
    run_file.write(tmp_path, FOUND)
    with pytest.raises(run_file.NotRunning):
        run_file.find(tmp_path)


async def test_the_running_system_fills_in_what_the_settings_leave_open(tmp_path: Path) -> None:
    descriptor = await claim(tmp_path)
    run_file.write(tmp_path, FOUND)
    settings = run_file.with_running_addresses(Settings(data_dir=tmp_path))
    assert (settings.nats_url, settings.database_url) == (FOUND.nats_url, FOUND.database_url)
    assert settings.addresses_of("auth") == [("127.0.0.1", 1), ("127.0.0.1", 2)]
    os.close(descriptor)


def test_settings_of_a_deployment_stay_as_they_are(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, nats_url="nats://a", database_url="postgresql://b")
    assert run_file.with_running_addresses(settings) == settings


def test_the_file_is_for_the_owner_alone(tmp_path: Path) -> None:
    run_file.write(tmp_path, msgspec.structs.replace(FOUND, pid=2))
    assert (tmp_path / run_file.NAME).stat().st_mode & 0o077 == 0


async def test_a_data_directory_has_one_owner(tmp_path: Path) -> None:
    descriptor = await claim(tmp_path)
    with pytest.raises(DataDirUnusable, match="in use"):
        await claim(tmp_path)
    os.close(descriptor)
    os.close(await claim(tmp_path))


async def test_a_data_directory_that_cannot_be_one_is_said_clearly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirUnusable, match="cannot write to the data directory"):
        await claim(tmp_path / "file" / "data")
