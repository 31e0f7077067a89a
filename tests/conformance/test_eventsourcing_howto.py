"""The how-to for the eventsourcing library, run as written, against a real NATS server and PostgreSQL."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from infra.embedded.nats_server import NatsServer

ROOT = Path(__file__).resolve().parents[2]
_FILE = re.compile(r"^```python\n# (\S+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files that the page shows."""
    for name, text in _FILE.findall((ROOT / "docs/howto/use-the-eventsourcing-library.md").read_text("utf-8")):
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


@pytest.fixture
def environment(shared_nats_server: NatsServer, database_url: str) -> dict[str, str]:
    database = conninfo_to_dict(database_url)
    return os.environ | {
        "PYTHONPATH": str(ROOT),
        "PERSISTENCE_MODULE": "streams.recorder",
        "NATS_URL": shared_nats_server.url,
        "POSTGRES_DBNAME": str(database["dbname"]),
        "POSTGRES_HOST": str(database["host"]),
        "POSTGRES_PORT": str(database["port"]),
        "POSTGRES_USER": str(database["user"]),
        "POSTGRES_PASSWORD": str(database.get("password", "")),
    }


def run(folder: Path, file: str, environment: dict[str, str]) -> str:
    command = [sys.executable, "-W", "error", file]
    completed = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (completed.returncode, completed.stderr) == (0, "")
    return completed.stdout.strip()


def test_the_how_to_for_the_library_works_as_it_is_written(folder: Path, environment: dict[str, str]) -> None:
    assert run(folder, "history.py", environment) == "balance 42, at version 2 it was 30"
    assert run(folder, "follow.py", environment) == "deposited: 100"
    assert run(folder, "follow.py", environment) == "deposited: 158"
