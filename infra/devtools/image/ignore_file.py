"""Which files of the tree a build sees: those that .containerignore does not leave out."""

import fnmatch
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath


class IgnoreFile:
    """The patterns of a .containerignore; the last one that matches a path or a folder above it decides."""

    def __init__(self, text: str) -> None:
        lines = (line.strip() for line in text.splitlines())
        # Each pattern with whether it leaves out (or, with `!` before it, brings back) what it matches.
        self._patterns = [
            (line.removeprefix("!").strip("/").split("/"), not line.startswith("!"))
            for line in lines
            if line and not line.startswith("#")
        ]

    def leaves_out(self, path: str) -> bool:
        """Whether the build does not see the path, relative to the root of the tree."""
        parts = PurePosixPath(path).parts
        left_out = False
        for pattern, leaves_out in self._patterns:
            if any(_matches(parts[:length], pattern) for length in range(1, len(parts) + 1)):
                left_out = leaves_out
        return left_out

    def files(self, root: Path, path: str) -> Iterator[Path]:
        """Yields the files that the build sees at the path: that file, or all below that folder, sorted."""
        start = root / path
        for file in [start] if start.is_file() else sorted(start.rglob("*")):
            if not file.is_dir() and not self.leaves_out(file.relative_to(root).as_posix()):
                yield file


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the pattern matches the whole path; `**` stands for any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[skipped:], pattern[1:]) for skipped in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])
