"""Writes requirements.lock: every package with its hashes, for all platforms, and no word of where it came from."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
LINE = re.compile(r"^(?:[a-z0-9._-]+==\S+(?: ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}(?: \\)?)$")


def strange_lines(text: str) -> list[str]:
    """The lines of a lock that are neither a pinned package nor a hash: hosts, options, comments."""
    return [line for line in text.splitlines() if LINE.match(line) is None]


def write() -> int:
    uv = shutil.which("uv")
    if uv is None:
        print("uv is not on the PATH: run `./just lock`", file=sys.stderr)  # noqa: T201 - a command
        return 1
    command = [uv, "pip", "compile", "pyproject.toml", "--quiet", "--group", "dev", "--universal", "--generate-hashes"]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--python-version", "3.11"]
    command += ["--output-file", str(LOCK), *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603 - composed above


def check() -> int:
    strange = strange_lines(LOCK.read_text())
    for line in strange[:5]:
        print(f"requirements.lock: neither a pinned package nor a hash: {line}", file=sys.stderr)  # noqa: T201
    return 1 if strange else 0


if __name__ == "__main__":
    sys.exit(check() if sys.argv[1:] == ["--check"] else write())
