"""Which dead letters are retried."""

from unittest.mock import AsyncMock

import msgspec
import pytest
from click.testing import CliRunner

from contracts.services import OPERATOR
from infra.cli.dead_letters import dead_letters
from infra.settings import Settings


def test_without_names_those_of_services_that_run_are_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    without = msgspec.structs.replace(settings, addresses={**settings.addresses, OPERATOR: ""})
    monkeypatch.setattr(Settings, "load", lambda: without)
    retry = AsyncMock(return_value=[])
    monkeypatch.setattr(dead_letters, "retry_selected", retry)
    assert CliRunner().invoke(dead_letters.dead_letters, ["retry"]).exit_code == 0
    services = {projection.run_by() for projection in retry.call_args.args[1]}
    assert services
    assert OPERATOR not in services
