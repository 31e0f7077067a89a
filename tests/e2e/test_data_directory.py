"""The data directory: one system at a time, and nothing in it or in the log that others may not see."""

import json
from pathlib import Path

from tests.e2e.people import Api
from tests.fix_system import System


async def test_two_cannot_have_the_same_data_directory(api: Api) -> None:
    second = api.system.vestnik("up", "--port", "0")
    assert second.returncode != 0
    assert len(second.stderr.strip().splitlines()) == 1, second.stderr
    assert api.system.is_ready()


async def test_no_secret_is_in_the_log_or_in_an_event(api: Api) -> None:
    system = api.system
    anna, boris = await api.friends()
    await anna.sends(boris, "hello")
    token = await api.mailed_token(anna.email)
    events = system.vestnik("events", "--json")
    assert events.returncode == 0, events.stderr
    texts = {"the log": system.log.read_text(), "the events": events.stdout}
    secrets = ["correct horse battery", "$2b$", token, anna.access_token, anna.refresh_token]
    for name, text in texts.items():
        for secret in secrets:
            assert secret not in text, f"{secret!r} in {name}"
    private = [json.loads(line) for line in events.stdout.splitlines() if '"credential.set"' in line]
    assert private
    assert all(event["data"] is None for event in private)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_what_is_secret_on_disk_is_its_owners_alone(api: Api) -> None:
    folder = api.system.data_dir
    for path in [folder / "run.json", *files(folder / "secrets")]:
        assert path.stat().st_size == 0 or path.stat().st_mode & 0o077 == 0, path


def test_a_first_start_and_a_second_one_log_no_error(fresh_system: System) -> None:
    fresh_system.interrupt()
    fresh_system.start()
    log = fresh_system.log.read_text(errors="replace")
    assert [line for line in log.splitlines() if "ERROR" in line or "CRITICAL" in line] == []
