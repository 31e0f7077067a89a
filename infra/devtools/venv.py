"""Creates the virtual environment .venv from requirements.lock, and then executes `just` in it.

It uses the standard library only. pip installs the locked uv, and uv the rest, in a third of the time: from its cache
if everything is there, otherwise from the package index. If uv cannot reach the index (it does not read pip's
configuration), pip installs everything. Either way every file is checked against the hashes of the lock. A stamp,
written last, marks the environment as complete.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
STAMP = VENV / "whole.stamp"
PYTHON = VENV / "bin" / "python"
# Variables that would misdirect .venv's Python, or disable its bytecode cache.
ODD_FOR_PYTHON = {"PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
NAMES_PYTHON = "VENV_PYTHON"
OLDEST_MINOR = 11
# Modules that .venv needs; some distributions package them separately.
NEEDED_MODULES = ("ctypes", "ensurepip", "ssl", "venv", "zlib")
UNREACHABLE = re.compile(
    r"NewConnectionError|ConnectTimeout|Temporary failure in name resolution|Name or service not known|"
    r"Network is unreachable|Failed to establish a new connection|Max retries exceeded|ProxyError|"
    r"Connection refused|No matching distribution found"
)


class CannotSetUp(Exception):
    """The environment could not be created; the message says what is missing and how to fix it."""


def main(arguments: Sequence[str]) -> NoReturn:
    try:
        if not _is_whole():
            with _alone():
                if not _is_whole():
                    _make()
    except CannotSetUp as error:
        sys.exit(f"just: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    command = command_for(list(arguments))
    if arguments[:1] == ["test"]:
        os.chdir(ROOT)  # as just does for a recipe
    os.execve(command[0], command, environ())  # noqa: S606 - handing over is the purpose


def command_for(arguments: list[str]) -> list[str]:
    """Returns the command of a recipe: `just`, or the program itself where signals have to reach it directly."""
    tools = VENV / "bin"
    if arguments[:1] == ["up"]:
        return [str(tools / "vestnik"), *arguments]
    if arguments[:1] == ["vestnik"]:
        return [str(tools / "vestnik"), *arguments[1:]]
    if arguments[:1] == ["test"]:
        return [str(PYTHON), "-m", "tests.suite", *arguments[1:]]
    return [str(tools / "just"), "--justfile", str(ROOT / "justfile"), *arguments]


def environ() -> dict[str, str]:
    """The environment variables of every recipe: .venv's tools first on the PATH, bytecode kept in .venv."""
    inherited = _inherited()
    path = f"{VENV / 'bin'}{os.pathsep}{inherited.get('PATH', os.defpath)}"
    return {**inherited, "VIRTUAL_ENV": str(VENV), "PATH": path, "PYTHONPYCACHEPREFIX": str(VENV / "bytecode")}


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ODD_FOR_PYTHON}


def fingerprint() -> str:
    """Hashes what the environment depends on: the lock, pyproject.toml, its own Python, and its path.

    Its own Python, not the one that runs this: callers with another Python on their PATH use the same .venv.
    """
    of_python = PYTHON.stat()  # of the link's target, which an upgrade replaces
    parts = (
        LOCK.read_bytes(),
        (ROOT / "pyproject.toml").read_bytes(),
        (VENV / "pyvenv.cfg").read_bytes(),
        f"{PYTHON.resolve()} {of_python.st_size} {of_python.st_mtime_ns}".encode(),
        str(ROOT).encode(),
    )
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def _is_whole() -> bool:
    try:
        return STAMP.read_text() == fingerprint()
    except (FileNotFoundError, NotADirectoryError):
        return False


@contextmanager
def _alone() -> Iterator[None]:
    """Holds a lock against concurrent runs; it is released when the process ends, however it ends."""
    descriptor = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another run is setting up .venv; waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.set_inheritable(descriptor, True)  # an installer that outlives a killed run still holds the lock
        yield
    finally:
        os.close(descriptor)


def _make() -> None:
    if not _can_be_kept():
        _make_empty()
    STAMP.unlink(missing_ok=True)
    _install_lock()
    _install_project()
    STAMP.write_text(fingerprint())
    _say("the environment is ready")


def _can_be_kept() -> bool:
    """Whether .venv was complete once, at this path, and its Python still has the version that created it."""
    try:
        made_with = re.search(r"^version = (\S+)$", (VENV / "pyvenv.cfg").read_text(), re.MULTILINE)
        here = str(ROOT) in STAMP.with_suffix(".root").read_text()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return made_with is not None and here and STAMP.exists() and _version_of(PYTHON) == made_with.group(1)


def _make_empty() -> None:
    program = _python()
    _say(f"making .venv (once) with {program}")
    _clear()
    result = _run([program, "-m", "venv", str(VENV)])
    if result.returncode != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        raise CannotSetUp(f"`{program} -m venv {VENV}` failed: {_last_line(result.stdout)}")
    STAMP.with_suffix(".root").write_text(str(ROOT))


def _python() -> str:
    """The Python that creates .venv: the one named by VENV_PYTHON, otherwise the first usable one of `_candidates`.

    Raises:
        CannotSetUp: there is no usable one.
    """
    needed = " and ".join(NEEDED_MODULES)
    if name := os.environ.get(NAMES_PYTHON):
        program = shutil.which(os.path.expanduser(name))
        if program is None or not _is_usable(program):
            raise CannotSetUp(f"{NAMES_PYTHON}={name} is not a Python 3.11 or newer that has the modules {needed}")
        return program
    for program in _candidates():
        if _is_usable(program):
            return program
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    raise CannotSetUp(
        f"no Python 3.11 or newer on the PATH has the modules {needed}. "
        f"On Debian or Ubuntu: apt install python{version}-venv"
    )


def _candidates() -> Iterator[str]:
    """Yields the distribution's Python (built with all optimizations), the running one, then others, newest first."""
    yield "/usr/bin/python3"
    yield getattr(sys, "_base_executable", "") or sys.executable
    for minor in range(20, OLDEST_MINOR - 1, -1):
        if program := shutil.which(f"python3.{minor}"):
            yield program


def _is_usable(program: str) -> bool:
    code = f"import sys, {', '.join(NEEDED_MODULES)}; sys.exit(sys.version_info < (3, {OLDEST_MINOR}))"
    try:
        return _run([program, "-I", "-c", code]).returncode == 0
    except OSError:
        return False


def _version_of(program: Path) -> str | None:
    """Its version as in `pyvenv.cfg`; None if it does not run."""
    try:
        result = _run([str(program), "-I", "-c", "import sys; print(*sys.version_info[:3], sep='.')"])
    except OSError:
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def _clear() -> None:
    if VENV.is_symlink() or VENV.is_file():
        VENV.unlink()
    shutil.rmtree(VENV, ignore_errors=True)


def _install_lock() -> None:
    _say("installing the locked packages into .venv")
    uv_lock = VENV / "uv.lock.txt"
    uv_lock.write_text(requirement_of(LOCK.read_text(), "uv"))
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    pip += ["--retries", "2"]
    _check(_run([*pip, "--no-deps", "--require-hashes", "-r", str(uv_lock)]))
    uv = [str(VENV / "bin" / "uv"), "pip", "install", "--quiet", "--python", str(PYTHON)]
    # First from uv's cache: packages downloaded for another copy of the tree need no network.
    for where in (["--offline"], []):
        by_uv = _run([*uv, *where, "--require-hashes", "-r", str(LOCK)], UV_HTTP_TIMEOUT="30", **_index_for_uv())
        if by_uv.returncode == 0:
            return
    _say("uv could not install them; pip takes over, which takes a little longer")
    _check(_run([*pip, "--require-hashes", "-r", str(LOCK)]))


def _install_project() -> None:
    """Installs the project as editable, with the locked build tool and without network."""
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--no-build-isolation"]
    result = _run([str(PYTHON), "-m", "pip", "install", *options, "--editable", str(ROOT)])
    if result.returncode != 0:
        raise CannotSetUp(f"the project itself could not be installed: {_last_line(result.stdout)}")


def requirement_of(lock: str, name: str) -> str:
    """Returns one package of a hashed lock, with its hashes."""
    match = re.search(rf"^{re.escape(name)}==.*?(?=^\S|\Z)", lock, re.MULTILINE | re.DOTALL)
    if match is None:
        raise CannotSetUp(f"requirements.lock does not name {name}: `./just lock` recreates it")
    return match.group()


def _index_for_uv() -> dict[str, str]:
    """Returns the index in pip's environment variable under uv's variable name."""
    index = os.environ.get("PIP_INDEX_URL")
    return {"UV_DEFAULT_INDEX": index} if index and "UV_DEFAULT_INDEX" not in os.environ else {}


def _check(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode == 0:
        return
    if "DO NOT MATCH THE HASHES" in done.stdout or "Hash mismatch" in done.stdout:
        raise CannotSetUp(
            "a downloaded package does not have the hash that requirements.lock names, so it was not installed. "
            f"Clear the cache (`pip cache purge`) or look at the package index.\n  {_named(done.stdout)}"
        )
    if UNREACHABLE.search(done.stdout):
        raise CannotSetUp(
            "the package index cannot be reached, and it is needed once, to fill .venv. Check the network, or name "
            f"a mirror with PIP_INDEX_URL.\n  {_last_line(done.stdout)}"
        )
    raise CannotSetUp(f"installing the locked packages failed: {_last_line(done.stdout)}")


def _named(output: str) -> str:
    """The packages named in an error about hashes."""
    return ", ".join(sorted(set(re.findall(r"[\w.-]+==[\w.]+", output))))


def _last_line(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip() and not line.startswith(("[notice]", "hint"))]
    return lines[-1].strip() if lines else "it said nothing"


def _run(command: list[str], **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - commands composed above
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        close_fds=False,
        cwd=ROOT,
        env={**_inherited(), "PIP_NO_INPUT": "1", "PYTHONNOUSERSITE": "1", **extra},
    )


def _say(text: str) -> None:
    print(f"just: {text}", file=sys.stderr, flush=True)  # noqa: T201 - the only way to speak before anything is there
