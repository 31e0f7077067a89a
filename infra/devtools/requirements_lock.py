"""Writes the lock files: every package with its hashes, for all platforms, without its source.

`requirements.lock` has everything for development, `requirements-production.lock` what runs Vestnik and
`requirements-build.lock` what builds its wheel, both in the same versions, and `requirements-audit.lock` the tools of
`./just audit`.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
PRODUCTION = ROOT / "requirements-production.lock"
BUILD = ROOT / "requirements-build.lock"
AUDIT = ROOT / "requirements-audit.lock"
# Sources of each lock; the first lock constrains the versions in the second and the third.
_SOURCES = {
    LOCK: ["pyproject.toml", "--group", "dev"],
    PRODUCTION: ["pyproject.toml", "--constraint", LOCK.name],
    BUILD: ["--group", "build", "--constraint", LOCK.name],
    AUDIT: ["--group", "audit"],
}
LINE = re.compile(r"^(?:[a-z0-9._-]+==\S+(?: ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}(?: \\)?)$")
_PIN = re.compile(r"^([a-z0-9._-]+)==(\S+)(?: ; ([^\\]+?))? \\$", re.MULTILINE)


def strange_lines(text: str) -> list[str]:
    """Returns the lines of a lock that are neither a pinned package nor a hash: hosts, options, comments."""
    return [line for line in text.splitlines() if LINE.match(line) is None]


def pins(text: str) -> dict[str, tuple[str, str]]:
    """Returns the version and the platform marker of each package in a lock."""
    return {name: (version, marker) for name, version, marker in _PIN.findall(text)}


def write() -> int:
    uv = shutil.which("uv")
    if uv is None:
        print("uv is not on the PATH: run `./just lock`", file=sys.stderr)  # noqa: T201 - a command
        return 1
    for lock, sources in _SOURCES.items():
        command = [uv, "pip", "compile", *sources, "--quiet", "--universal", "--generate-hashes", "--no-header"]
        command += ["--no-annotate", "--no-emit-index-url", "--python-version", "3.11"]
        command += ["--output-file", str(lock), *sys.argv[1:]]
        done = subprocess.run(command, cwd=ROOT, check=False)  # noqa: S603 - composed above
        if done.returncode != 0:
            return done.returncode
    return 0


def faults(locks: dict[str, str]) -> Iterator[str]:
    """Yields the faults of the locks; `locks` has their texts by file name."""
    for name, text in locks.items():
        yield from (f"{name}: neither a pinned package nor a hash: {line}" for line in strange_lines(text)[:5])
    everything = pins(locks[LOCK.name])
    for name in (PRODUCTION.name, BUILD.name):
        for package, (version, _) in pins(locks[name]).items():
            if everything.get(package, ("",))[0] != version:
                yield f"{name}: {package} {version} is not what {LOCK.name} has: run `./just lock`"


def check() -> int:
    problems = list(faults({lock.name: lock.read_text() for lock in _SOURCES}))
    for fault in problems:
        print(fault, file=sys.stderr)  # noqa: T201 - a command
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(check() if sys.argv[1:] == ["--check"] else write())
