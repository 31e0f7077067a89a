"""The pages on writing a projection, word for word: their code written into a copy of the project, and run."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fix_system import ROOT, System

TUTORIAL = ROOT / "docs" / "tutorial" / "first-projection.md"
HOWTO = ROOT / "docs" / "howto" / "add-a-read-model.md"
_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"# (\S+\.py)\n")
_NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "dist", "build")


@pytest.fixture
def copied(tmp_path: Path) -> Iterator[System]:
    """A system that runs from a copy of the project, in which the commands may make files."""
    root = tmp_path / "vestnik"
    shutil.copytree(ROOT, root, ignore=_NOT_COPIED)
    # The copy needs no environment of its own: what `./just` does once it has made one.
    just = root / "just"
    just.write_text('#!/bin/sh\nexec just "$@"\n')
    just.chmod(0o755)
    system = System(tmp_path / "data", root=root)
    try:
        yield system
    finally:
        system.stop()


def run(system: System, commands: str) -> str:
    environment = system.environment | {"URL": system.url, "DATA": str(system.data_dir)}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["PYTHONPATH"] = str(system.root)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=system.root,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_tutorial_on_a_first_projection_works_as_it_is_shown(copied: System) -> None:
    shown: list[str] = []
    for kind, block in _BLOCK.findall(TUTORIAL.read_text(encoding="utf-8")):
        if kind == "python":
            found = _FILE.match(block)
            assert found, "a block of code begins with the name of its file"
            assert (copied.root / found[1]).is_file(), f"{found[1]} was not made before it is changed"
            (copied.root / found[1]).write_text(block, encoding="utf-8")
        elif block.strip() == "./just up":
            copied.stop()
            copied.start()
        else:
            shown.append(run(copied, block))
    output = "\n".join(shown)
    assert "1 passed" in output
    assert "hours_of_day" in output
    rows = copied.vestnik("rows", "hours_of_day", "--json").stdout
    assert '"messages":3' in rows
    assert '"at_weekends"' in rows
    # The tests that look at every projection; others do not see that there is one more.
    units = "tests/unit/projections tests/unit/infra/cli tests/unit/infra/devtools/test_scaffold_projection.py"
    assert " failed" not in run(copied, f"./just test {units} tests/unit/test_architecture.py -q -n 0")
    checked = [str(copied.root / name) for name in ("projections/hours_of_day.py", "tests/integration/projections")]
    for check in (["ruff", "check"], ["ruff", "format", "--check"]):
        run(copied, " ".join([*check, *checked]))


def test_the_code_of_the_howto_runs_as_it_is_shown(copied: System) -> None:
    names = []
    for kind, block in _BLOCK.findall(HOWTO.read_text(encoding="utf-8")):
        if kind == "python":
            found = _FILE.match(block)
            assert found, "a block of code begins with the name of its file"
            (copied.root / found[1]).write_text(block, encoding="utf-8")
            names.append(found[1])
    assert len(names) == 2
    assert "1 passed" in run(copied, f"./just test {names[1]} -n 0")
    run(copied, f"ruff check {' '.join(names)} && ruff format --check {' '.join(names)}")
