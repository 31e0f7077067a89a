"""What a Python that .venv might be made with says of itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra import python_trial


def _said(*arguments: str) -> object:
    command = [sys.executable, "-I", "-S", str(Path(python_trial.__file__)), *arguments]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_one_in_a_virtual_environment_speaks_for_the_python_that_the_environment_was_made_with() -> None:
    said = _said()
    assert said == {**python_trial.who(), "lacks": []}
    assert Path(python_trial.who()["program"]).resolve() == Path(sys.executable).resolve()
    assert Path(python_trial.who()["program"]).parent != Path(sys.prefix, "bin")


def test_it_says_how_long_the_loop_took() -> None:
    took = _said("loop")
    assert isinstance(took, float)
    assert took > 0


def test_modules_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    monkeypatch.setitem(sys.modules, "ssl", None)
    assert python_trial.lacks() == ["ensurepip", "ssl"]
