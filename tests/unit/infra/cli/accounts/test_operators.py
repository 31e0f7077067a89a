"""The list of operators as text."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from infra.cli.accounts.operators import operators
from infra.security.operator_accounts import FILE, Operator
from infra.settings import Settings


def test_the_name_of_an_operator_does_not_control_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path)
    settings.secrets_path.mkdir(parents=True)
    operator = Operator("u", "anna", datetime(2026, 1, 31, tzinfo=UTC), "root\x1b]0;x\x07\x9b1m\nboris")
    (settings.secrets_path / FILE).write_bytes(msgspec.json.encode([operator]))
    monkeypatch.setattr(Settings, "load", lambda: settings)
    listed = CliRunner().invoke(operators, ["list"])
    assert listed.stdout.endswith(r"  u  since 2026-01-31T00:00:00.000Z, by root\u001b]0;x\u0007\u009b1m\nboris" + "\n")
    assert listed.stdout.count("\n") == 1
