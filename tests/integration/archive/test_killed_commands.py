"""`vestnik import` and `export` as processes that are killed, on a system at rest."""

import io
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from contracts import subjects
from contracts.envelope import Provenance, encode, seal
from contracts.values.ids import new_id
from infra.archive.format.archive_reader import Block, check
from infra.archive.format.archive_writer import Writer
from infra.archive.format.layout import MOST_EVENTS
from streams.restore import ArchivedMessage
from tests.integration.archive.conftest import sent, silent
from tests.unit.infra.archive.conftest import header

_BLOCKS = 30
_WITHIN = 600.0


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export that takes some time to import; written directly, so that no server has to be filled for it."""
    events = _BLOCKS * MOST_EVENTS
    file = io.BytesIO()
    writer = Writer(file, header(events={"MESSAGING": events, "AUTH": 0}))
    for first in range(1, events, MOST_EVENTS):
        writer.events(0, first, [_message() for _ in range(MOST_EVENTS)])
    writer.end()
    path = tmp_path_factory.mktemp("large") / "export"
    path.write_bytes(file.getvalue())
    return path


def _message() -> ArchivedMessage:
    conversation = new_id()
    sealed = seal(sent(1, "hello " * 20), aggregate_id=conversation, version=1, provenance=Provenance())
    return ArchivedMessage(subjects.conversation(conversation), encode(sealed), {"Nats-Msg-Id": sealed.id})


def start(data_dir: Path, *arguments: str) -> subprocess.Popen[bytes]:
    # With buffers, as a shell has them.
    others = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    inherited = {name: value for name, value in others.items() if not name.startswith("VESTNIK_")}
    return subprocess.Popen(
        [sys.executable, "-m", "infra.cli.main", *arguments],
        env={**inherited, "VESTNIK_DATA_DIR": str(data_dir)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def output_of(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """Waits until the process has ended; kills it if that takes too long."""
    with process:
        try:
            return process.communicate(timeout=_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def outcome(data_dir: Path, *arguments: str) -> Any:  # noqa: ANN401 - JSON
    out, error = output_of(start(data_dir, *arguments, "--json"))
    assert out, error
    return json.loads(out)


def size(folder: Path) -> int:
    """Size of the events written so far; files come and go meanwhile."""
    total = 0
    # `Path.rglob` fails at a folder that is gone when it gets there.
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(parent) / name).stat().st_size if name.endswith(".blk") else 0
    return total


def killed_after_growth(process: subprocess.Popen[bytes], folder: Path, growth: int) -> bool:
    """Kills the process when the stream has grown by the given number of bytes; False if it ended earlier."""
    begin, deadline = size(folder), time.monotonic() + _WITHIN
    while size(folder) < begin + growth:
        assert time.monotonic() < deadline
        if process.poll() is not None:
            return False
        time.sleep(0.005)
    process.kill()
    process.communicate()
    return True


def events_of(path: Path) -> list[Block]:
    blocks: list[Block] = []
    assert check(path, silent, blocks.append).damages == []
    return blocks


def test_an_import_that_is_killed_again_and_again_ends_with_every_event_in_its_place(
    large: Path, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    for growth in (1, 1_000_000):
        assert killed_after_growth(
            start(data_dir, "import", str(large), "--reason", "a test"), data_dir / "nats", growth
        )
    refused = start(data_dir, "up", "--port", "0")
    _, error = output_of(refused)
    assert refused.returncode == 1
    assert b"the same `vestnik import FILE --reason TEXT` completes it" in error
    done = outcome(data_dir, "import", str(large), "--reason", "a test")
    assert done["events"] == _BLOCKS * MOST_EVENTS
    assert 0 < done["found"] < done["events"]
    outcome(data_dir, "export", str(tmp_path / "again"))
    assert events_of(tmp_path / "again") == events_of(large)


def test_an_export_that_is_killed_leaves_no_file_of_that_name(large: Path, tmp_path: Path) -> None:
    data_dir, path = tmp_path / "data", tmp_path / "again"
    outcome(data_dir, "import", str(large), "--reason", "a test")
    process = start(data_dir, "export", str(path))
    deadline = time.monotonic() + _WITHIN
    while not (tmp_path / ".again.draft").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    assert not path.exists()
    outcome(data_dir, "export", str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["again", "data"]
