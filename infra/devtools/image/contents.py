"""What may be in the final root: how large it is, what is missing in it on purpose, and who may write to it."""

import json
import os
import re
import stat
from collections.abc import Iterator
from email.parser import HeaderParser
from importlib.util import MAGIC_NUMBER
from pathlib import Path

BYTES = 250_000_000
BILL = "opt/vestnik/share/vestnik.cdx.json"
_VENV = "opt/vestnik"
_UID = 10001
_PROGRAM_FOLDERS = ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin", f"{_VENV}/bin")
# With a prefix such as x86_64-linux-gnu- or a suffix such as -12 too.
_PROGRAM = re.compile(
    r"^(?:.+-)?(?:cc|gcc|g\+\+|c\+\+|clang|cpp|tcc|ld|as|make|rustc|cargo|go|pip|uv|easy_install"
    r"|nats-server|postgres|initdb|pg_ctl)(?:-?[0-9][0-9.]*)?$"
)
_DEBIAN_PACKAGE = re.compile(
    r"^(?:.*-dev|build-essential|gcc.*|g\+\+.*|cpp.*|binutils.*|make|python3.*-(?:pip|venv|wheel))$"
)
_DEBIAN_PACKAGE_ALLOWED = frozenset({"gcc-12-base"})  # Only documentation, which libgcc needs.
_PYTHON_FOLDERS = ("site-packages", "dist-packages")
_INSTALLERS = frozenset({"pip", "setuptools", "wheel", "ensurepip"})
# Writable for everyone in every Debian system; in a container they are read-only or a tmpfs.
_SHARED_FOLDERS = frozenset({"tmp", "var/tmp", "run/lock"})


def size(root: Path) -> int:
    """Bytes of all files, each counted once."""
    inodes = {}
    for path in _paths(root):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
            inodes[status.st_ino] = status.st_size
    return sum(inodes.values())


def faults(root: Path) -> Iterator[str]:
    """Yields what is wrong with the root."""
    if (bytes_used := size(root)) > BYTES:
        yield f"the image has {bytes_used / 1e6:.0f} MB; {BYTES / 1e6:.0f} are allowed"
    yield from _programs(root)
    yield from _debian_packages(root)
    yield from _python_packages(root)
    yield from _permissions(root)
    yield from _byte_code(root)


def _programs(root: Path) -> Iterator[str]:
    for folder in _PROGRAM_FOLDERS:
        for path in sorted((root / folder).glob("*")):
            if _PROGRAM.match(path.name):
                yield f"/{folder}/{path.name} is in the image"


def _debian_packages(root: Path) -> Iterator[str]:
    for stanza in (root / "var/lib/dpkg/status").read_text().split("\n\n"):
        package = HeaderParser().parsestr(stanza)
        name = str(package["Package"])
        installed = package["Status"] == "install ok installed"
        if installed and _DEBIAN_PACKAGE.match(name) and name not in _DEBIAN_PACKAGE_ALLOWED:
            yield f"the Debian package {name} is installed"


def _python_packages(root: Path) -> Iterator[str]:
    for path in _paths(root):
        if path.name in _INSTALLERS and (path.parent.name in _PYTHON_FOLDERS or path.name == "ensurepip"):
            yield f"/{path.relative_to(root)} is in the image"
    installed = _installed(root)
    try:
        components = json.loads((root / BILL).read_text())["components"]
    except (OSError, ValueError, LookupError):
        yield f"/{BILL} is not a bill of materials"
        return
    listed = {component["name"]: component for component in components}
    for name, version in installed.items():
        if name != "vestnik" and listed.get(name, {}).get("version") != version:
            yield f"{name} {version} is installed, and the bill of materials does not say so"
    for name, component in listed.items():
        # One with a marker may be for other platforms.
        if name not in installed and not component.get("properties"):
            yield f"the bill of materials lists {name}, which is not installed"
    if "vestnik" not in installed:
        yield "vestnik is not installed"


def _installed(root: Path) -> dict[str, str]:
    """Name and version of each Python distribution."""
    installed = {}
    for path in (root / _VENV).glob("lib/python3*/site-packages/*.dist-info/METADATA"):
        metadata = HeaderParser().parsestr(path.read_text(errors="replace"))
        installed[re.sub(r"[-_.]+", "-", str(metadata["Name"])).lower()] = str(metadata["Version"])
    return installed


def _permissions(root: Path) -> Iterator[str]:
    for path in _paths(root):
        status, name = path.lstat(), path.relative_to(root).as_posix()
        if stat.S_ISLNK(status.st_mode) or name in _SHARED_FOLDERS:
            continue
        if (
            status.st_mode & stat.S_IWOTH
            or (status.st_uid == _UID and status.st_mode & stat.S_IWUSR)
            or (status.st_gid == _UID and status.st_mode & stat.S_IWGRP)
        ):
            yield f"/{name} is writable for user {_UID}"
        if name.startswith(f"{_VENV}/") and not status.st_mode & stat.S_IROTH:
            yield f"/{name} is not readable for user {_UID}"


def _byte_code(root: Path) -> Iterator[str]:
    """Each module of the environment has byte code that is valid whatever the time of its source."""
    for source in (root / _VENV).glob("lib/**/*.py"):
        compiled = list(source.parent.glob(f"__pycache__/{source.stem}.cpython-*.pyc"))
        if not compiled or compiled[0].read_bytes()[len(MAGIC_NUMBER)] != 1:
            yield f"/{source.relative_to(root)} has no byte code of the kind `unchecked-hash`"


def _paths(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        if Path(folder) == root and "dev" in folders:
            folders.remove("dev")  # an engine mounts its own
        yield from (Path(folder, name) for name in (*folders, *files))
