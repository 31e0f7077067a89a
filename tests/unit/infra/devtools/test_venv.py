"""The set-up script and the lock that it installs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.devtools import venv as environment
from infra.devtools.venv import CannotSetUp, _check, requirement_of


def test_one_package_is_cut_out_of_the_lock_with_its_hashes() -> None:
    lock = (
        "uv-build==1 \\\n    --hash=sha256:aa\nuv==2 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\nuvicorn==3 \\\n"
    )
    assert requirement_of(lock, "uv") == "uv==2 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"


def test_a_lock_without_the_package_says_how_to_fix_it() -> None:
    with pytest.raises(CannotSetUp, match="just lock"):
        requirement_of("a==1\n", "uv")


def test_chores_find_the_tools_of_the_environment_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    environ = environment.environ()
    assert re.fullmatch(rf"{re.escape(str(environment.VENV))}/bin:/usr/bin", environ["PATH"])
    assert "PYTHONPATH" not in environ


def test_a_program_that_runs_until_a_signal_is_run_directly() -> None:
    tools = environment.VENV / "bin"
    assert environment.command_for(["up", "--port", "1"]) == [str(tools / "vestnik"), "up", "--port", "1"]
    assert environment.command_for(["vestnik", "status"]) == [str(tools / "vestnik"), "status"]
    assert environment.command_for(["test", "-x"]) == [str(environment.PYTHON), "-m", "tests.suite", "-x"]
    assert environment.command_for(["check"])[-1:] == ["check"]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES\n  uv==1.2 from somewhere\n  Expected", r"hash.*\n  uv==1\.2$"),
        ("WARNING: Retrying after NewConnectionError\nERROR: nothing", "index cannot be reached.*\n  ERROR: nothing"),
        ("ERROR: something else", "failed: ERROR: something else"),
    ],
)
def test_a_failed_installation_says_what_is_missing(output: str, said: str) -> None:
    with pytest.raises(CannotSetUp, match=said):
        _check(subprocess.CompletedProcess([], 1, output))


@pytest.fixture
def venv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A project with only a lock, and the path of its future .venv."""
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text("")
    venv = tmp_path / ".venv"
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "LOCK", tmp_path / "requirements.lock")
    monkeypatch.setattr(environment, "VENV", venv)
    monkeypatch.setattr(environment, "STAMP", venv / "whole.stamp")
    monkeypatch.setattr(environment, "PYTHON", venv / "bin" / "python")
    monkeypatch.delenv("VENV_PYTHON", raising=False)
    return venv


def _interpreter(path: Path, version: str) -> Path:
    """A program that pretends to be a Python of that version and creates environments with itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"""#!/bin/sh
case "$*" in
*ensurepip*) ;;
*version_info*) echo {version} ;;
*"-m venv "*)
    for venv; do :; done
    /bin/mkdir -p "$venv/bin" && /bin/ln -s {path} "$venv/bin/python"
    echo "version = {version}" > "$venv/pyvenv.cfg" ;;
*) echo pip 1 ;;
esac
"""
    )
    path.chmod(0o755)
    return path


def _make_whole(monkeypatch: pytest.MonkeyPatch, program: Path) -> list[str]:
    """Makes the environment with that Python, without packages; returns the printed lines."""
    printed: list[str] = []
    monkeypatch.setattr(environment, "_say", printed.append)
    monkeypatch.setattr(environment, "_install_lock", lambda: None)
    monkeypatch.setattr(environment, "_install_project", lambda: None)
    monkeypatch.setattr(environment, "_candidates", lambda: iter([str(program)]))
    environment._make()
    return printed


def test_an_environment_is_complete_for_every_python_that_checks_it(
    monkeypatch: pytest.MonkeyPatch, venv: Path, tmp_path: Path
) -> None:
    assert not environment._is_whole()
    _make_whole(monkeypatch, _interpreter(tmp_path / "python", "3.11.2"))
    assert environment._is_whole()
    monkeypatch.setattr(sys, "version", "3.13.0 (another)")
    monkeypatch.setattr(sys, "version_info", (3, 13, 0, "final", 0))
    monkeypatch.setattr(sys, "executable", "/another/python")
    assert environment._is_whole()
    assert environment._can_be_kept()


def test_a_complete_environment_starts_no_program(monkeypatch: pytest.MonkeyPatch, venv: Path, tmp_path: Path) -> None:
    _make_whole(monkeypatch, _interpreter(tmp_path / "python", "3.11.2"))
    monkeypatch.setattr(subprocess, "Popen", None)
    assert environment._is_whole()


def test_it_is_created_again_when_its_python_is_gone(
    monkeypatch: pytest.MonkeyPatch, venv: Path, tmp_path: Path
) -> None:
    python = _interpreter(tmp_path / "python", "3.11.2")
    _make_whole(monkeypatch, python)
    python.unlink()
    assert not environment._is_whole()
    assert not environment._can_be_kept()


def test_it_is_created_again_when_its_python_has_another_version(
    monkeypatch: pytest.MonkeyPatch, venv: Path, tmp_path: Path
) -> None:
    python = _interpreter(tmp_path / "python", "3.11.2")
    _make_whole(monkeypatch, python)
    (venv / "left").touch()
    _interpreter(python, "3.11.10")
    assert not environment._is_whole()
    assert _make_whole(monkeypatch, python)[0].startswith("making .venv")
    assert not (venv / "left").exists()
    assert environment._is_whole()


def test_it_is_kept_when_its_python_was_rebuilt_in_the_same_version(
    monkeypatch: pytest.MonkeyPatch, venv: Path, tmp_path: Path
) -> None:
    python = _interpreter(tmp_path / "python", "3.11.2")
    _make_whole(monkeypatch, python)
    (venv / "left").touch()
    os.utime(python, ns=(0, 0))
    assert not environment._is_whole()
    assert _make_whole(monkeypatch, python) == ["the environment is ready"]
    assert (venv / "left").exists()
    assert environment._is_whole()


def test_it_is_filled_again_when_the_lock_changes_and_created_again_in_another_place(
    monkeypatch: pytest.MonkeyPatch, venv: Path, tmp_path: Path
) -> None:
    _make_whole(monkeypatch, _interpreter(tmp_path / "python", "3.11.2"))
    environment.LOCK.write_text("uv==1\n")
    assert not environment._is_whole()
    assert environment._can_be_kept()
    monkeypatch.setattr(environment, "ROOT", tmp_path / "moved")
    assert not environment._can_be_kept()


@pytest.mark.parametrize(
    ("good", "tried"), [("cache", ["cache"]), ("index", ["cache", "index"]), ("pip", ["cache", "index", "pip"])]
)
def test_what_was_downloaded_before_is_installed_without_the_index(
    monkeypatch: pytest.MonkeyPatch, venv: Path, good: str, tried: list[str]
) -> None:
    venv.mkdir()
    environment.LOCK.write_text("uv==1 \\\n    --hash=sha256:aa\n")
    sources: list[str] = []

    def run(command: list[str], **_: str) -> subprocess.CompletedProcess[str]:
        if command[-1] == str(environment.LOCK):
            sources.append("pip" if "pip" in command[2:3] else "cache" if "--offline" in command else "index")
            return subprocess.CompletedProcess(command, int(sources[-1] != good), "")
        return subprocess.CompletedProcess(command, 0, "")

    monkeypatch.setattr(environment, "_run", run)
    monkeypatch.setattr(environment, "_say", lambda _: None)
    environment._install_lock()
    assert sources == tried


def test_an_incomplete_environment_is_not_kept(monkeypatch: pytest.MonkeyPatch, venv: Path, tmp_path: Path) -> None:
    _make_whole(monkeypatch, _interpreter(tmp_path / "python", "3.11.2"))
    environment.STAMP.unlink()
    assert not environment._is_whole()
    assert not environment._can_be_kept()


def test_a_file_in_its_place_is_no_environment(monkeypatch: pytest.MonkeyPatch, venv: Path, tmp_path: Path) -> None:
    venv.touch()
    assert not environment._is_whole()
    _make_whole(monkeypatch, _interpreter(tmp_path / "python", "3.11.2"))
    assert environment._is_whole()


def test_the_first_python_that_can_make_it_does(
    monkeypatch: pytest.MonkeyPatch, venv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, sound = tmp_path / "broken", _interpreter(tmp_path / "whole", "3.11.2")
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(environment, "_candidates", lambda: iter(["/no/such/python", str(broken), str(sound)]))
    environment._make_empty()
    assert (venv / "bin" / "python").resolve() == sound
    assert capsys.readouterr().err == f"just: making .venv (once) with {sound}\n"


def test_the_running_python_is_a_candidate_and_newer_ones_come_before_older(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("python3.11", "python3.13", "python3.10"):
        _interpreter(tmp_path / name, "3")
    monkeypatch.setenv("PATH", str(tmp_path))
    first, running, *others = environment._candidates()
    assert first == "/usr/bin/python3"
    assert Path(running).resolve() == Path(sys.executable).resolve()
    assert others == [str(tmp_path / "python3.13"), str(tmp_path / "python3.11")]


def test_a_python_that_is_named_makes_it(monkeypatch: pytest.MonkeyPatch, venv: Path, tmp_path: Path) -> None:
    named_python = _interpreter(tmp_path / "mine", "3.12.1")
    monkeypatch.setenv("VENV_PYTHON", "mine")
    monkeypatch.setenv("PATH", str(tmp_path))
    environment._make_empty()
    assert (venv / "bin" / "python").resolve() == named_python


def test_a_named_python_that_cannot_be_used_is_an_error_and_leaves_everything(
    monkeypatch: pytest.MonkeyPatch, venv: Path
) -> None:
    venv.mkdir()
    monkeypatch.setenv("VENV_PYTHON", "/no/such/python")
    with pytest.raises(CannotSetUp, match=r"^VENV_PYTHON=/no/such/python is not a Python 3\.11 or newer"):
        environment._make_empty()
    assert venv.exists()


def test_installers_do_not_see_what_would_send_python_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/elsewhere")
    assert environment._run(["/bin/sh", "-c", 'echo "home: $PYTHONHOME"']).stdout == "home: \n"


def test_where_no_python_has_venv_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch, venv: Path) -> None:
    monkeypatch.setattr(environment, "_candidates", lambda: iter(["/bin/false"]))
    with pytest.raises(CannotSetUp, match=r"apt install python3\.\d+-venv"):
        environment._make_empty()
