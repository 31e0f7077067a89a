"""Pauses as the command line shows them: with the name of an operator whose account's id is stored."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from contracts.values.ids import new_id
from infra.cli.projections import projections
from infra.security.operator_accounts import Operators
from projections.engine.controls import pause as pauses
from projections.engine.controls.pause import AlreadyPaused, Resumed
from projections.engine.storage.pauses import Pause
from projections.friends import Friends
from services.operator.actions.domain import Actor
from services.operator.actions.recorder import Act

ANNA = new_id()
BY_ANNA = Pause("a test", ANNA, datetime(2026, 12, 3, tzinfo=UTC))


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Runs commands where `friends` was paused at the page by an operator, Anna."""
    operators = Operators(tmp_path)
    operators.add(ANNA, "anna", by="root")
    act = Act("an id", Actor(name="root", user_id=None, channel="command_line", address=""), 1)

    @asynccontextmanager
    async def control(*_: object) -> AsyncIterator[projections.Control]:
        yield projections.Control(act, cast(Any, None), cast(Any, None), "", operators)

    async def resume(*_: object) -> Resumed:
        return Resumed(projection="friends", version=1, pause=BY_ANNA)

    async def pause(*_: object, **__: object) -> None:
        raise AlreadyPaused(Friends, BY_ANNA)

    monkeypatch.setattr(projections, "_control", control)
    monkeypatch.setattr(pauses, "resume", resume)
    monkeypatch.setattr(pauses, "pause", pause)
    return CliRunner()


def test_the_end_of_a_pause_names_the_operator_who_began_it(runner: CliRunner) -> None:
    result = runner.invoke(projections.projections, ["resume", "friends", "--reason", "a test"], catch_exceptions=False)
    assert result.output == "friends goes on; anna had paused it at 2026-12-03T00:00:00.000Z: a test\n"
    of_json = ["resume", "friends", "--reason", "a test", "--json"]
    result = runner.invoke(projections.projections, of_json, catch_exceptions=False)
    assert '"paused_by":"anna"' in result.output


def test_a_second_pause_is_refused_with_the_name_of_the_operator_of_the_first(runner: CliRunner) -> None:
    with pytest.raises(AlreadyPaused, match="is paused already, by anna since 2026-12-03 00:00:00: a test"):
        runner.invoke(projections.projections, ["pause", "friends", "--reason", "a test"], catch_exceptions=False)
