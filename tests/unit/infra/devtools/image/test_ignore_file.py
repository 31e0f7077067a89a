"""Which files the build of the image sees."""

import subprocess
from pathlib import Path

import pytest

from infra.devtools.image.__main__ import ROOT
from infra.devtools.image.ignore_file import IgnoreFile

OURS = IgnoreFile((ROOT / ".containerignore").read_text())


@pytest.mark.parametrize(
    ("path", "left_out"),
    [
        ("contracts/services.py", False),
        ("infra/cli/main.py", False),
        ("requirements-production.lock", False),
        ("infra/deployment/Containerfile", True),
        ("infra/cli/__pycache__/main.cpython-311.pyc", True),
        ("tests/conftest.py", True),
        ("docs/README.md", True),
        (".venv/bin/python", True),
        (".vestnik/secrets/password.key", True),
        (".env", True),
        (".git/config", True),
    ],
)
def test_the_build_sees_the_sources_of_the_wheel_and_nothing_else(path: str, left_out: bool) -> None:
    assert OURS.leaves_out(path) is left_out


def test_every_file_of_the_wheel_is_seen() -> None:
    packages = ("contracts", "streams", "projections", "services", "infra")
    listed = subprocess.run(["git", "ls-files", *packages], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [path for path in listed.stdout.splitlines() if not path.startswith("infra/deployment/")]
    assert files
    assert [path for path in files if OURS.leaves_out(path)] == []


def test_the_last_pattern_decides() -> None:
    ignored = IgnoreFile("# comment\n*.md\n!README.md\ndocs\n!docs/kept\n**/secret\na?c\n")
    expected = {
        "a.md": True,
        "README.md": False,
        "docs/README.md": True,
        "docs/kept/x": False,
        "x/y/secret/z": True,
        "secret": True,
        "abc": True,
        "abbc": False,
        "x/a.md": False,
    }
    assert {path: ignored.leaves_out(path) for path in expected} == expected


def test_files_of_a_folder_are_listed_without_those_that_are_left_out(tmp_path: Path) -> None:
    for path in ("a/b/c.py", "a/b/__pycache__/c.pyc", "a/d.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    ignored = IgnoreFile("**/__pycache__\n")
    assert [file.name for file in ignored.files(tmp_path, "a")] == ["c.py", "d.py"]
    assert list(ignored.files(tmp_path, "a/d.py")) == [tmp_path / "a" / "d.py"]
    assert list(ignored.files(tmp_path, "none")) == []
