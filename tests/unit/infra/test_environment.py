"""The set-up script and the lock that it installs."""

import re
import subprocess
from pathlib import Path

import pytest

from infra import environment
from infra.environment import CannotSetUp, _check, requirement_of
from infra.lock import strange_lines

LOCK = Path(environment.LOCK).read_text()


def test_one_package_is_cut_out_of_the_lock_with_its_hashes() -> None:
    lock = (
        "uv-build==1 \\\n    --hash=sha256:aa\nuv==2 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\nuvicorn==3 \\\n"
    )
    assert requirement_of(lock, "uv") == "uv==2 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"


def test_a_lock_without_the_package_says_how_to_mend_it() -> None:
    with pytest.raises(CannotSetUp, match="just lock"):
        requirement_of("a==1\n", "uv")


def test_the_lock_names_no_host_and_no_option() -> None:
    assert strange_lines(LOCK) == []


def test_hosts_and_options_in_a_lock_are_noticed() -> None:
    strange = ["--index-url https://mirror.example/simple", "# from https://mirror.example", "a @ https://b/c.whl"]
    assert strange_lines("\n".join(strange)) == strange


def test_chores_find_the_tools_of_the_environment_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    environ = environment.environ()
    assert re.fullmatch(rf"{re.escape(str(environment.VENV))}/bin:/usr/bin", environ["PATH"])
    assert "PYTHONPATH" not in environ


def test_what_runs_until_a_signal_is_run_directly() -> None:
    tools = environment.VENV / "bin"
    assert environment.command_for(["up", "--port", "1"]) == [str(tools / "vestnik"), "up", "--port", "1"]
    assert environment.command_for(["vestnik", "status"]) == [str(tools / "vestnik"), "status"]
    assert environment.command_for(["test", "-x"])[-2:] == ["test", "-x"]


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


def test_a_python_without_venv_says_which_package_brings_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    output = "The virtual environment was not created successfully because ensurepip is not available."
    monkeypatch.setattr(environment, "VENV", tmp_path / "venv")
    monkeypatch.setattr(environment, "_run", lambda _: subprocess.CompletedProcess([], 1, output))
    with pytest.raises(CannotSetUp, match=r"apt install python3\.\d+-venv"):
        environment._make_empty()
