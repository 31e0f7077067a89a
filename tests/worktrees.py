"""Trees of other commits, each in a git worktree with an environment of its own."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


@contextmanager
def worktree(commit: str, root: Path) -> Iterator[Path]:
    """The files of a commit at `root`, and the `.venv` that its own lock asks for; both are removed at the end.

    Raises:
        RuntimeError: git does not know the commit, or its environment cannot be made.
    """
    added = git("worktree", "add", "--detach", "--force", str(root), commit)
    if added.returncode != 0:
        raise RuntimeError(f"no worktree of {commit}: {added.stderr.strip()}")
    try:
        environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        completed = subprocess.run(
            [str(root / "just"), "--list"], cwd=root, env=environ, capture_output=True, text=True, check=False
        )
        if completed.returncode != 0:
            raise RuntimeError(f"{commit} has no environment: {completed.stderr.strip()}")
        yield root
    finally:
        git("worktree", "remove", "--force", str(root))


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
