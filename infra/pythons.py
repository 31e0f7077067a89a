"""Which Python .venv is made with: the one that runs now, unless another of the same version is clearly quicker.

The other is at hand on the PATH, where a version switcher's build often stands before the distribution's, and takes
the same wheels. Nothing is expected of it: one that fails, hangs or babbles is passed over.
"""

import json
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import monotonic
from typing import Self

from infra import python_trial

TRIAL = Path(python_trial.__file__)
OLDEST = (3, 11)
CLEARLY = 1.15
TURNS = 3
PATIENCE = 10.0  # seconds, for what takes a tenth of one
LONGEST_ANSWER = 65_536  # bytes
ALSO = ("/usr/local/bin", "/usr/bin")
# Their Pythons look for libraries among their own alone, and those that wheels want are not there.
APART = ("/nix/store/", "/gnu/store/")

Measure = Callable[[str], float | None]


@dataclass(frozen=True, kw_only=True)
class Python:
    program: str
    version: tuple[int, ...]
    wheels: str

    @classmethod
    def of(cls, said: Mapping[str, str]) -> Self:
        version = tuple(map(int, said["version"].split(".")))
        return cls(program=said["program"], version=version, wheels=said["wheels"])


def running() -> Python:
    return Python.of(python_trial.who())


def named(name: str) -> Python | None:
    """The Python of that path, or of that name on the PATH, if Vestnik can run on it."""
    program = shutil.which(os.path.expanduser(name))
    python = look_at(program) if program else None
    return python if python and python.version >= OLDEST else None


def better() -> tuple[str, str] | None:
    """Another Python than the running one, and what is better about it."""
    this = running()
    others = list(_others(this, _folders()))
    if lacking := python_trial.lacks():
        return (others[0].program, f"has no {' and no '.join(lacking)}") if others else None
    found = quicker(this, others, seconds_of_loop) if others else None
    return (found[0].program, f"takes {found[1]:.1f} times as long for the same loop") if found else None


def quicker(this: Python, others: Sequence[Python], measure: Measure) -> tuple[Python, float] | None:
    """The quickest of the others and how many times as quick it is, if that is clearly so."""
    least = dict.fromkeys((this, *others), inf)
    for _ in range(TURNS):  # in turns, so that other work on the machine slows down one no more than another
        for python in list(least):
            if (seconds := measure(python.program)) is None:
                del least[python]
            else:
                least[python] = min(least[python], seconds)
    if this not in least:
        return None
    quickest = min(least, key=least.__getitem__)
    times_as_quick = least[this] / least[quickest]
    return (quickest, times_as_quick) if times_as_quick >= CLEARLY else None


def look_at(program: str) -> Python | None:
    """Who that program is, if it is a Python that a virtual environment can be made with."""
    try:
        said = json.loads((answer_of([*_alone(program), str(TRIAL)], PATIENCE) or "").splitlines()[-1])
        python = Python.of(said)
        return python if os.path.isabs(python.program) and said["lacks"] == [] else None
    except (AttributeError, LookupError, TypeError, ValueError):
        return None


def version_of(program: Path) -> str | None:
    answer = answer_of([*_alone(str(program)), "-c", "import sys; print(*sys.version_info[:3], sep='.')"], PATIENCE)
    return answer.strip() if answer else None


def seconds_of_loop(program: str) -> float | None:
    try:
        seconds = float(answer_of([*_alone(program), str(TRIAL), "loop"], PATIENCE) or "")
    except ValueError:
        return None
    return seconds if seconds > 0 else None


def makes(program: str, folder: Path) -> bool:
    """Whether that Python made a virtual environment there in which pip works."""
    if answer_of([program, "-I", "-m", "venv", str(folder)], 12 * PATIENCE, inherits=True) is None:
        return False
    return answer_of([str(folder / "bin" / "python"), "-I", "-m", "pip", "--version"], 3 * PATIENCE) is not None


def answer_of(command: Sequence[str], seconds: float, *, inherits: bool = False) -> str | None:
    """What a command prints; None if it fails, prints without end, or takes longer than that: then it is ended.

    With `inherits` it gets the inheritable descriptors, and so the lock on .venv, which it then holds beyond our end.
    """
    ends = monotonic() + seconds
    try:
        asked = subprocess.Popen(  # noqa: S603 - a Python of the PATH
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            close_fds=not inherits,
            process_group=0,  # with whatever it starts: a switcher's script may start the Python
        )
    except OSError:
        return None
    assert asked.stdout is not None
    said = b""
    with asked.stdout as pipe:
        try:
            while len(said) < LONGEST_ANSWER and select.select([pipe], [], [], max(0.0, ends - monotonic()))[0]:
                if piece := os.read(pipe.fileno(), LONGEST_ANSWER):
                    said += piece
                else:
                    code = asked.wait(max(0.0, ends - monotonic()))
                    return said.decode(errors="replace") if code == 0 else None
            return None
        except subprocess.TimeoutExpired:
            return None
        finally:
            if asked.returncode is None:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(asked.pid, signal.SIGKILL)
                asked.wait()


def _others(this: Python, folders: Sequence[str]) -> Iterator[Python]:
    """Pythons in these folders, of the version that runs now alone: whoever started it has chosen that one."""
    name = f"python{this.version[0]}.{this.version[1]}"
    seen = {os.path.realpath(this.program)}
    for folder in folders:
        program = os.path.join(folder, name)
        found = os.path.realpath(program)
        if found in seen or not (os.path.isfile(found) and os.access(found, os.X_OK)):
            continue
        seen.add(found)
        python = look_at(program)
        if python is None or python.version[:2] != this.version[:2] or python.wheels != this.wheels:
            continue
        real = os.path.realpath(python.program)  # another than `found` behind a version switcher's script
        if real.startswith(APART) or (real != found and real in seen):
            continue
        seen.add(real)
        yield python


def _folders() -> list[str]:
    """The PATH without what is relative: that would be another folder in another place."""
    return [
        folder for folder in (*os.environ.get("PATH", os.defpath).split(os.pathsep), *ALSO) if os.path.isabs(folder)
    ]


def _alone(program: str) -> list[str]:
    """A Python without what the environment or the site adds to it."""
    return [program, "-I", "-S", "-B"]
