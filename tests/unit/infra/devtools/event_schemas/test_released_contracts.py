"""Releasing writes one file per schema, checking compares with them, and nothing that breaks readers is released."""

import subprocess
import sys
from pathlib import Path

import pytest

from contracts.events.event import Event
from contracts.upcasts import STEPS
from infra.devtools.event_schemas.__main__ import main, today
from infra.devtools.event_schemas.event_contract import Contract
from infra.devtools.event_schemas.released_contracts import FOLDER, released
from tests.unit.infra.devtools.event_schemas.event_class_builder import KIND, contract, event

ROOT = FOLDER.parent.parent


def run(folder: Path, now: type[Event], *arguments: str) -> int:
    return main(arguments, folder=folder, contracts={KIND: (now, contract(now))})


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.glob("**/*.json"))


def test_todays_events_break_nothing_that_was_released() -> None:
    command = [sys.executable, "-m", "infra.devtools.event_schemas", "--check"]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (completed.returncode, completed.stderr) == (0, "")


def test_the_registry_holds_what_is_stored_in_the_streams() -> None:
    kinds = {released_contract.kind for released_contract in released(FOLDER)}
    assert {"user.created", "session.created", "friendship.accepted", "message.sent"} <= kinds <= set(today())


def test_a_release_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    assert run(tmp_path, event(("a", str))) == 0
    assert files(tmp_path) == [f"{KIND}/v1.json"]
    assert released(tmp_path) == [contract(event(("a", str)))]


def test_checking_writes_nothing_and_lists_pending_contracts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, event(("a", str)), "--check") == 0
    assert files(tmp_path) == []
    assert capsys.readouterr().out == f"no break; 1 not released yet, which may still change: {KIND}\n"


def test_a_new_field_is_part_of_the_contract_from_its_release_on(tmp_path: Path) -> None:
    run(tmp_path, event(("a", str)))
    assert run(tmp_path, event(("a", str), ("b", str, "")), "--check") == 0
    assert run(tmp_path, event(("a", str)), "--check") == 0
    assert run(tmp_path, event(("a", str), ("b", str, ""))) == 0
    assert run(tmp_path, event(("a", str)), "--check") == 1


def test_a_break_is_reported_and_not_released(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, event(("a", str)))
    assert run(tmp_path, event(("a", int))) == run(tmp_path, event(("a", int)), "--check") == 1
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first.startswith(f"{KIND}: field `a` changed its type from string to integer")
    assert "docs/howto/change-an-event.md" in last
    assert released(tmp_path) == [contract(event(("a", str)))]


def test_a_raised_schema_is_a_file_beside_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, event(("a", str)))
    monkeypatch.setitem(STEPS, (KIND, 1), lambda data: {"a": len(data["a"])})
    assert run(tmp_path, event(("a", int), schema=2)) == 0
    assert files(tmp_path) == [f"{KIND}/v1.json", f"{KIND}/v2.json"]
    monkeypatch.delitem(STEPS, (KIND, 1))
    assert run(tmp_path, event(("a", int), schema=2), "--check") == 1


@pytest.mark.parametrize("content", ["{}", "no json", Contract.of(event(("a", str), kind="b.c"), "s").text().decode()])
def test_a_file_that_is_not_what_its_place_says_is_refused(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / KIND / "v1.json"
    path.parent.mkdir()
    path.write_text(content)
    assert run(tmp_path, event(("a", str)), "--check") == 1
    assert str(path) in capsys.readouterr().err
