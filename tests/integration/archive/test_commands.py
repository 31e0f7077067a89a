"""`vestnik export` and `vestnik import` as an operator types them."""

import io
import json
import shutil
from pathlib import Path

from click.testing import CliRunner, Result
from rich.console import Console

from infra.archive.format.unreadable_events import CannotBeImported
from infra.archive.key_fingerprint import CLAIMS
from infra.archive.output_file import TargetExists
from infra.cli.main import cli
from infra.cli.output.progress_bar import Bar
from infra.runtime.run_file import NotRunning
from tests.integration.archive.test_killed_commands import start
from tests.unit.infra.archive.conftest import event, export, pieces
from tests.unit.infra.archive.format.test_archive_reader import altered, written


def run(data_dir: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, env={"VESTNIK_DATA_DIR": str(data_dir)})


def test_without_a_system_there_is_nothing_to_export(tmp_path: Path) -> None:
    done = run(tmp_path / "data", "export", str(tmp_path / "export"))
    assert isinstance(done.exception, NotRunning)
    assert list(tmp_path.iterdir()) == []


def test_a_check_says_what_a_file_is_and_touches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "export"
    path.write_bytes(export())
    done = run(tmp_path / "data", "import", "--check", str(path), "--json")
    assert done.exit_code == 0
    report = json.loads(done.stdout)
    assert (report["sound"], report["damages"], report["events"], report["id"]) == (True, [], 12, "one")
    plain = run(tmp_path / "data", "import", "--check", str(path))
    assert "MESSAGING: 7 events, up to 7" in plain.stderr
    assert "whole and sound" in plain.stderr
    assert list(tmp_path.iterdir()) == [path]


def test_a_check_of_a_damaged_file_names_the_damage_and_fails(tmp_path: Path) -> None:
    path = tmp_path / "export"
    parts = pieces(export())
    path.write_bytes(b"".join([*parts[:3], *parts[4:]]))
    done = run(tmp_path / "data", "import", "--check", str(path), "--json")
    assert done.exit_code == 1
    assert "MESSAGING 3 to 4 is missing here" in json.loads(done.stdout)["damages"][0]
    plain = run(tmp_path / "data", "import", "--check", str(path))
    assert "MESSAGING 3 to 4 is missing here" in plain.stderr
    assert "whole and sound" not in plain.stderr


def test_a_damaged_file_does_not_even_make_a_data_directory(tmp_path: Path) -> None:
    path = tmp_path / "export"
    path.write_bytes(export()[:-1])
    done = run(tmp_path / "data", "import", str(path), "--reason", "a test")
    assert done.exit_code == 1
    assert "nothing was imported" in str(done.exception)
    assert list(tmp_path.iterdir()) == [path]


def test_an_export_goes_through_a_pipe_and_does_not_replace_a_file_unasked(tmp_path: Path) -> None:
    data_dir, path = tmp_path / "data", tmp_path / "export"
    path.write_bytes(export())
    assert run(data_dir, "import", str(path), "--reason", "a test").exit_code == 0
    refused = run(data_dir, "export", str(path))
    assert isinstance(refused.exception, TargetExists)
    assert path.read_bytes() == export()
    assert run(data_dir, "export", str(path), "--force").exit_code == 0
    assert path.read_bytes() != export()
    piped = tmp_path / "piped"
    process = start(data_dir, "export", "-")
    out, _ = process.communicate(timeout=120)
    piped.write_bytes(out)
    assert run(data_dir, "import", "--check", str(piped)).exit_code == 0
    assert len(pieces(out)) == len(pieces(path.read_bytes()))


def test_an_export_that_cannot_be_imported_fails_and_names_the_events(tmp_path: Path) -> None:
    data_dir, path, again = tmp_path / "data", tmp_path / "export", tmp_path / "again"
    path.write_bytes(written([event("MESSAGING", 1), altered(2, schema=9)]))
    refused = run(data_dir, "import", str(path), "--reason", "a test")
    assert refused.exit_code == 1
    assert "--allow-unreadable" in str(refused.exception)
    checked = run(data_dir, "import", "--check", str(path))
    assert checked.exit_code == 1
    assert "cannot be read MESSAGING 2 (message.sent of schema 9, " in " ".join(checked.stderr.split())
    assert not data_dir.exists()
    taken = run(data_dir, "import", "--allow-unreadable", str(path), "--reason", "a test")
    assert taken.exit_code == 0
    assert "imported unchanged: 1 event that this release cannot read" in " ".join(taken.stderr.split())

    failed = run(data_dir, "export", str(again))
    assert isinstance(failed.exception, CannotBeImported)
    assert "cannot be read MESSAGING 2 (message.sent of schema 9, " in " ".join(failed.stderr.split())
    assert sorted(tmp_path.iterdir()) == [data_dir, path]
    all_the_same = run(data_dir, "export", "--allow-unreadable", str(again), "--json")
    assert all_the_same.exit_code == 0
    assert json.loads(all_the_same.stdout)["unreadable"] == 1
    assert run(data_dir, "import", "--check", str(again)).exit_code == 0
    other = tmp_path / "other"
    (other / "secrets").mkdir(parents=True)
    shutil.copy(data_dir / "secrets" / CLAIMS, other / "secrets")
    assert run(other, "import", "--passwords-lost", str(again), "--reason", "a test").exit_code == 0


def test_json_and_a_pipe_do_not_go_together(tmp_path: Path) -> None:
    done = run(tmp_path / "data", "export", "-", "--json")
    assert done.exit_code == 2
    assert done.stdout == ""


def test_a_bar_shows_how_far_and_how_fast_on_a_terminal_alone() -> None:
    for terminal in (True, False):
        out = io.StringIO()
        with Bar(Console(file=out, force_terminal=terminal, width=120), "export", "events") as bar:
            bar.move(1_000, 5_000)
            bar.move(5_000, 5_000)
        assert ("5,000/5,000 events" in out.getvalue()) == terminal


def test_a_reader_that_goes_away_is_said_in_one_line(tmp_path: Path) -> None:
    data_dir, path = tmp_path / "data", tmp_path / "export"
    path.write_bytes(export())
    assert run(data_dir, "import", str(path), "--reason", "a test").exit_code == 0
    with start(data_dir, "export", "-") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read().decode()
    assert process.returncode == 1
    assert "Traceback" not in said
