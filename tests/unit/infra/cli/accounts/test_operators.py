"""The list of operators as text, and who can be added to it."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from unittest.mock import AsyncMock

import msgspec
import pytest
from click.testing import CliRunner
from nats.aio.client import Client as NATS

from contracts.events.event import Event
from contracts.events.user import UserCreated, UserEmailVerified, UserErased
from infra.cli.accounts import operators as module
from infra.cli.accounts.operators import NoSuchAccount, operators
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


CREATED, VERIFIED = UserCreated(username="anna", display_name=None), UserEmailVerified()


@pytest.mark.parametrize(
    ("events", "is_account"),
    [
        ([], False),
        ([CREATED], False),
        ([CREATED, VERIFIED], True),
        # Its name is reserved for some time, so that the claim still leads to it.
        ([CREATED, VERIFIED, UserErased(reason="requested")], False),
    ],
)
async def test_only_an_account_that_is_there_can_become_an_operators(
    events: list[Event], is_account: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "events_of", AsyncMock(return_value=("id", events)))
    account = module._account(cast(NATS, SimpleNamespace()), Settings(), "anna")
    if is_account:
        assert await account == ("id", "anna")
    else:
        with pytest.raises(NoSuchAccount):
            await account
