"""What the status says of reactions where it cannot see them."""

from unittest.mock import AsyncMock, Mock

import pytest

from contracts.errors import Unavailable
from infra.settings import Settings
from projections.engine.status.status import StreamStatus
from services.operator import system_status
from services.operator.system_status import collect_status


async def test_without_the_rights_to_see_parked_events_reactions_are_unknown_and_the_rest_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such as after an upgrade without `vestnik nats-config`."""
    monkeypatch.setattr(system_status, "stream_status", AsyncMock(return_value=StreamStatus("AUTH", 1, 1, 1)))
    monkeypatch.setattr(system_status, "JetStream", Mock(return_value=Mock(is_full=AsyncMock(return_value=False))))
    monkeypatch.setattr(system_status, "reaction_statuses", AsyncMock(side_effect=Unavailable))
    monkeypatch.setattr(system_status, "_projections", AsyncMock(return_value=[]))
    monkeypatch.setattr(system_status, "_service", AsyncMock())
    monkeypatch.setattr(system_status, "_gateway", AsyncMock())
    status = await collect_status(Settings(), Mock())
    assert {reaction.state for reaction in status.reactions} == {"unknown"}
    assert (status.unreachable, status.streams[0].events) == ([], 1)
