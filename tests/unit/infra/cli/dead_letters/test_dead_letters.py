"""Which dead letters are retried, and how one is shown."""

from datetime import UTC, datetime
from io import StringIO
from unittest.mock import AsyncMock

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from contracts.services import OPERATOR
from infra.cli.dead_letters import dead_letters, output
from infra.settings import Settings
from services.operator.dead_letters.views import Discard, Letter


def test_without_names_those_of_services_that_run_are_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    without_operator = msgspec.structs.replace(settings, addresses={**settings.addresses, OPERATOR: ""})
    monkeypatch.setattr(Settings, "load", lambda: without_operator)
    retry = AsyncMock(return_value=[])
    monkeypatch.setattr(dead_letters, "retry_selected", retry)
    assert CliRunner().invoke(dead_letters.dead_letters, ["retry"]).exit_code == 0
    services = {projection.run_by() for projection in retry.call_args.args[1]}
    assert services
    assert OPERATOR not in services


def test_what_clients_and_operators_have_written_does_not_control_the_terminal() -> None:
    hostile = "\x1b]0;x\x07[red]\x9b1m\nfailed"
    letter = Letter(
        id="friends:1:CONTACT:7",
        projection="friends",
        version=1,
        build=1,
        stream="CONTACT",
        sequence=7,
        subject="vestnik.contact.friendship.x",
        aggregate_id="x",
        type="friendship.created",
        state="discarded",
        error="",
        attempts=None,
        tried_at=None,
        at=None,
        waiting=None,
        behind=None,
        discard=Discard(by="anna", at=datetime(2026, 1, 31, tzinfo=UTC), reason=hostile),
    )
    printed = StringIO()
    Console(file=printed, width=200).print(output.line(letter), soft_wrap=True)
    head, reason = printed.getvalue().splitlines()
    assert head.startswith(letter.id)
    assert reason == r"    discarded by anna: \u001b]0;x\u0007[red]\u009b1m\nfailed"
