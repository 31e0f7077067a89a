"""The trees that run beside each other: the last release, and the current one with changes that a release may bring."""

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.worktrees import ROOT, git, worktree

# A field that the last release does not know, in every event that the current tree writes.
ADDED = "added"
LAST_RELEASE = Path(__file__).with_name("last_release")
_PACKAGES = ("contracts", "infra", "projections", "services", "streams")
# Read models that get a new version; the others keep theirs.
_RAISED = ("conversations", "friends", "notifications", "profiles", "users")
_VERSION = re.compile(r"^    version = (\d+)$", re.MULTILINE)
_LAST_OF_EVENT = re.compile(r"^    PRIVATE: ClassVar\[bool\] = False$", re.MULTILINE)
_CUTOVER = re.compile(r"^ +if await cutover\.cut_over\(.*$", re.MULTILINE)
_PAUSE = f"{' ' * 16}await asyncio.sleep(2)"
_FIELD = f"    {ADDED}: int = msgspec.field(default_factory=lambda: 1)"
_STEP = """
STEPS = (*STEPS, Step("a column more", "ALTER TABLE projection_builds ADD COLUMN added text"))
"""


class Release(msgspec.Struct, frozen=True):
    """A source tree, and the Python that runs it."""

    name: str
    root: Path
    python: Path

    def has(self, service: str) -> bool:
        return (self.root / "services" / service / "main.py").exists()

    def command(self, *arguments: str) -> list[str]:
        return [str(self.python), "-m", "infra.cli.main", *arguments]

    def environment(self, bytecode: Path) -> dict[str, str]:
        """The environment of its processes, without settings of Vestnik."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("VESTNIK_")}
        return {**inherited, "PYTHONPATH": str(self.root), "PYTHONPYCACHEPREFIX": str(bytecode)}


def extract_last_release(folder: Path) -> None:
    """Writes the files of the last release's code into the folder; skips without its commit."""
    archive = folder / "archive.zip"
    made = git("archive", f"--output={archive}", commit_of_last_release(), "contracts", "docs/reference")
    assert made.returncode == 0, made.stderr
    shutil.unpack_archive(archive, folder)


def commit_of_last_release() -> str:
    """Skips if this clone does not have it."""
    commit = LAST_RELEASE.read_text().strip()
    if git("cat-file", "-e", f"{commit}^{{commit}}").returncode != 0:
        pytest.skip(f"this clone does not have the last release, {commit[:12]}: fetch the whole history")
    return commit


@contextmanager
def last_release(folder: Path) -> Iterator[Release]:
    """The commit of the last release in a worktree of its own, with its own `.venv`; skips without that commit."""
    with worktree(commit_of_last_release(), folder / "last-release") as root:
        yield Release("last release", root, root / ".venv" / "bin" / "python")


def next_release(folder: Path) -> Release:
    """A copy of the current tree with changes that docs/explanation/upgrades.md permits, whatever the tree has changed.

    Some read models have a higher version, as if their tables had changed, and take a while to be filled, as if they
    were large. The engine's tables have a column more, and every event that is written has a field more.
    """
    root = folder / "present-tree"
    for package in _PACKAGES:
        shutil.copytree(ROOT / package, root / package)
    for name in _RAISED:
        _replace(root / "projections" / f"{name}.py", _VERSION, lambda match: f"    version = {int(match[1]) + 1}")
    # With a factory, since a field that has its default value is not stored.
    _replace(root / "contracts/events/event.py", _LAST_OF_EVENT, lambda match: f"{match[0]}\n{_FIELD}")
    _replace(root / "projections/engine/running/runner.py", _CUTOVER, lambda match: f"{_PAUSE}\n{match[0]}")
    schema = root / "projections/engine/storage/schema.py"
    schema.write_text(schema.read_text() + _STEP)
    return Release("present tree", root, Path(sys.executable))


def _replace(module: Path, pattern: re.Pattern[str], replacement: Callable[[re.Match[str]], str]) -> None:
    text, count = pattern.subn(replacement, module.read_text())
    assert count == 1, f"{module} has {count} places to change"
    module.write_text(text)
