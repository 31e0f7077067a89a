"""Which Python .venv is made with, out of real folders with Pythons that are shell scripts."""

import json
import os
import re
import select
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra import python_trial, pythons
from infra.pythons import Python, answer_of, better, makes, named, quicker

NAME = f"python{sys.version_info[0]}.{sys.version_info[1]}"
THIS = Python(program="/this", version=(3, 11, 7), wheels="ours")
OTHER = Python(program="/other", version=(3, 11, 2), wheels="ours")
THIRD = Python(program="/third", version=(3, 11, 9), wheels="ours")

Fake = Callable[..., Path]


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    """Makes a script that says of itself what the running Python does, unless told otherwise."""

    def make(path: str, body: str | None = None, *, loop: str = "0.5", **otherwise: object) -> Path:
        program = tmp_path / path
        program.parent.mkdir(parents=True, exist_ok=True)
        said = {**python_trial.who(), "program": str(program), "lacks": [], **otherwise}
        says = f"case $* in *loop) echo {loop};; *) echo '{json.dumps(said)}';; esac"
        program.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{says if body is None else body}\n")
        program.chmod(0o755)
        return program

    return make


@pytest.fixture(autouse=True)
def _no_other_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pythons, "ALSO", ())
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))


def _found(monkeypatch: pytest.MonkeyPatch, *programs: Path) -> list[str]:
    monkeypatch.setenv("PATH", os.pathsep.join(str(program.parent) for program in programs))
    return [python.program for python in pythons._others(pythons.running(), pythons._folders())]


def _measured(**seconds: list[float | None]) -> pythons.Measure:
    left = {f"/{name}": iter(times) for name, times in seconds.items()}
    return lambda program: next(left[program])


def test_the_quickest_is_taken_and_it_is_said_how_much_quicker_it_is() -> None:
    measure = _measured(this=[3.0, 3.0, 3.0], other=[2.5, 2.5, 2.5], third=[2.0, 2.0, 2.0])
    assert quicker(THIS, [OTHER, THIRD], measure) == (THIRD, 1.5)


def test_one_that_is_only_a_little_quicker_is_not_worth_another_python() -> None:
    assert quicker(THIS, [OTHER], _measured(this=[1.14] * 3, other=[1.0] * 3)) is None
    assert quicker(THIS, [OTHER], _measured(this=[1.16] * 3, other=[1.0] * 3)) == (OTHER, 1.16)


def test_the_running_one_stays_if_it_is_the_quickest() -> None:
    assert quicker(THIS, [OTHER], _measured(this=[1.0] * 3, other=[2.0] * 3)) is None


def test_a_moment_in_which_the_machine_was_busy_does_not_count() -> None:
    assert quicker(THIS, [OTHER], _measured(this=[9.0, 1.0, 9.0], other=[1.0, 1.0, 1.0])) is None


def test_they_are_measured_in_turns() -> None:
    asked: list[str] = []

    def measure(program: str) -> float:
        asked.append(program)
        return 1.0

    quicker(THIS, [OTHER], measure)
    assert asked == ["/this", "/other"] * pythons.TURNS


def test_one_that_fails_now_and_then_is_not_taken() -> None:
    assert quicker(THIS, [OTHER], _measured(this=[3.0] * 3, other=[1.0, None])) is None


def test_nothing_is_quicker_than_a_python_that_cannot_be_measured() -> None:
    assert quicker(THIS, [OTHER], _measured(this=[None], other=[1.0] * 3)) is None


def test_a_quicker_one_on_the_path_is_better(monkeypatch: pytest.MonkeyPatch, fake: Fake) -> None:
    slow, quick = fake(f"a/{NAME}", loop="0.4"), fake(f"b/{NAME}", loop="0.1")
    monkeypatch.setattr(pythons, "running", lambda: pythons.look_at(str(slow)))
    monkeypatch.setenv("PATH", f"{slow.parent}{os.pathsep}{quick.parent}")
    assert better() == (str(quick), "takes 4.0 times as long for the same loop")


def test_nothing_is_measured_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pythons, "quicker", None)
    assert better() is None


def test_any_that_has_the_modules_is_better_than_one_without(monkeypatch: pytest.MonkeyPatch, fake: Fake) -> None:
    whole = fake(f"a/{NAME}", loop="false")
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    assert better() is None
    monkeypatch.setenv("PATH", str(whole.parent))
    assert better() == (str(whole), "has no ensurepip")


def test_others_are_found_in_the_order_of_the_path(monkeypatch: pytest.MonkeyPatch, fake: Fake) -> None:
    first, second = fake(f"b/{NAME}"), fake(f"a/{NAME}")
    assert _found(monkeypatch, first, second) == [str(first), str(second)]


def test_folders_that_are_relative_or_missing_are_passed_over(
    monkeypatch: pytest.MonkeyPatch, fake: Fake, tmp_path: Path
) -> None:
    python = fake(f"a/{NAME}")
    fake(f"bin/{NAME}")
    fake(NAME)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join(["", ".", "bin", "~/bin", str(tmp_path / "none"), str(python.parent)]))
    assert [found.program for found in pythons._others(pythons.running(), pythons._folders())] == [str(python)]


def test_usual_folders_are_looked_into_without_a_path(
    monkeypatch: pytest.MonkeyPatch, fake: Fake, tmp_path: Path
) -> None:
    monkeypatch.delenv("PATH")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "defpath", str(tmp_path / "a"))
    monkeypatch.setattr(pythons, "ALSO", (str(tmp_path / "b"),))
    both = [fake(f"a/{NAME}"), fake(f"b/{NAME}")]
    found = pythons._others(pythons.running(), pythons._folders())
    assert [python.program for python in found] == [str(python) for python in both]


def test_one_file_is_one_python(monkeypatch: pytest.MonkeyPatch, fake: Fake, tmp_path: Path) -> None:
    python, linked, running = fake(f"a/{NAME}"), tmp_path / "b" / NAME, tmp_path / "c" / NAME
    for link, to in ((linked, python), (running, Path(sys.executable))):
        link.parent.mkdir()
        link.symlink_to(to)
    assert _found(monkeypatch, running, python, linked) == [str(python)]


def test_a_switchers_script_stands_for_the_python_behind_it(monkeypatch: pytest.MonkeyPatch, fake: Fake) -> None:
    behind = fake("versions/bin/python")
    to_running = fake(f"a/{NAME}", f'exec {sys.executable} "$@"')
    to_other, again = fake(f"b/{NAME}", f'exec {behind} "$@"'), fake(f"c/{NAME}", f'exec {behind} "$@"')
    assert _found(monkeypatch, to_running, to_other, again) == [str(behind)]


def test_a_python_that_takes_other_wheels_or_lacks_something_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, fake: Fake
) -> None:
    odd = [
        fake(f"older/{NAME}", version="3.10.9"),
        fake(f"newer/{NAME}", version="3.99.0"),
        fake(f"apart/{NAME}", program="/nix/store/abc-python/bin/python"),
        fake(f"lost/{NAME}", program="bin/python"),
        fake(f"debug/{NAME}", wheels=".cpython-311d-x86_64-linux-gnu.so x86_64"),
        fake(f"without/{NAME}", lacks=["ensurepip"]),
    ]
    assert _found(monkeypatch, *odd) == []


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("exit 1", id="fails"),
        pytest.param("kill -SEGV $$", id="crashes"),
        pytest.param("", id="says nothing"),
        pytest.param("echo 42", id="says something else"),
        pytest.param("echo Welcome", id="greets"),
        pytest.param('echo \'{"program": 1, "version": [], "wheels": null, "lacks": []}\'', id="says what it is not"),
        pytest.param(
            'echo \'{"program": "python", "version": "3.x", "wheels": "", "lacks": []}\'', id="has no version"
        ),
        pytest.param("exec yes", id="never stops talking"),
        pytest.param("exec sleep 600", id="hangs"),
        pytest.param("sleep 600 & wait", id="hangs in what it started"),
        pytest.param("sleep 600 & echo '{}'", id="leaves something running"),
    ],
)
def test_an_odd_one_is_passed_over(monkeypatch: pytest.MonkeyPatch, fake: Fake, body: str) -> None:
    monkeypatch.setattr(pythons, "PATIENCE", 0.5)
    odd = fake(f"a/{NAME}", body)
    assert _found(monkeypatch, odd) == []
    assert pythons.seconds_of_loop(str(odd)) in (None, 42.0)


def test_what_is_no_program_is_passed_over(monkeypatch: pytest.MonkeyPatch, fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "folder" / NAME).mkdir(parents=True)
    forbidden, broken = fake(f"a/{NAME}"), fake(f"b/{NAME}")
    forbidden.chmod(0o644)
    broken.write_text("#!/no/such/interpreter\n")
    assert _found(monkeypatch, tmp_path / "folder" / NAME, forbidden, broken) == []


@pytest.mark.parametrize("said", ["0", "-1", "nan", "soon"])
def test_a_time_that_cannot_be_is_none(fake: Fake, said: str) -> None:
    assert pythons.seconds_of_loop(str(fake("python", loop=said))) is None


def test_a_greeting_before_the_answer_does_no_harm(monkeypatch: pytest.MonkeyPatch, fake: Fake) -> None:
    greeting = fake(f"a/{NAME}", f'echo Welcome; echo Welcome >&2; exec {fake("real")} "$@"')
    assert len(_found(monkeypatch, greeting)) == 1


def test_one_that_does_not_end_is_ended_with_all_that_it_started(fake: Fake, tmp_path: Path) -> None:
    held = tmp_path / "held"
    os.mkfifo(held)
    reader = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
    try:
        babbling = fake("python", f"exec 3> {held}\necho started >&3\nsleep 600 &\nexec yes")
        assert answer_of([str(babbling)], 60) is None
        assert select.select([reader], [], [], 30)[0]
        assert os.read(reader, 100) == b"started\n"
        assert select.select([reader], [], [], 30)[0]
        assert os.read(reader, 100) == b""  # nobody holds it any more
    finally:
        os.close(reader)


def test_a_python_is_named_by_its_path_or_its_name(monkeypatch: pytest.MonkeyPatch, fake: Fake, tmp_path: Path) -> None:
    python = fake("a/mine", version="3.99.1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(python.parent))
    for name in (str(python), "mine", "a/mine", "~/a/mine"):
        found = named(name)
        assert found is not None
        assert found.program == str(python)


def test_a_named_one_that_is_too_old_or_none_at_all_is_refused(fake: Fake) -> None:
    assert named(str(fake("old", version="3.10.14"))) is None
    assert named(str(fake("without", lacks=["ssl"]))) is None
    assert named("no-such-python") is None


@pytest.mark.parametrize(("pip", "made"), [("echo pip 1", True), ("exit 1", False)])
def test_an_environment_is_made_when_pip_works_in_it(fake: Fake, tmp_path: Path, pip: str, made: bool) -> None:
    python = fake("venv/bin/python", f'[ "$*" = "-I -m pip --version" ] && {pip}')
    maker = fake("maker", f'[ "$*" = "-I -m venv {tmp_path}/venv" ]')
    assert makes(str(maker), tmp_path / "venv") is made
    assert python.exists()


def test_what_fills_the_folder_holds_the_lock_and_what_is_only_asked_does_not(fake: Fake, tmp_path: Path) -> None:
    lock = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(lock, True)
    try:
        fake("venv/bin/python", f"[ ! -e /dev/fd/{lock} ]")
        assert makes(str(fake("maker", f"[ -e /dev/fd/{lock} ]")), tmp_path / "venv")
    finally:
        os.close(lock)


def test_the_version_of_a_python_is_asked_of_itself(fake: Fake) -> None:
    version = pythons.version_of(Path(sys.executable))
    assert version is not None
    assert re.fullmatch(r"3\.\d+\.\d+", version)
    assert pythons.version_of(fake("gone", "exit 1")) is None
