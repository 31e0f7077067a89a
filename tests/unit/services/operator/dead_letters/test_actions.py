"""A discard through the page: final once it is stored."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import AsyncMock, Mock

import pytest

from contracts.errors import Unavailable
from projections.engine.dead_letters import resolution
from projections.engine.storage.dead_letters import LetterId
from services.operator.actions.domain import Actor
from services.operator.actions.recorder import Act
from services.operator.dead_letters import actions
from services.operator.dead_letters.actions import DeadLetters

ANNA = Actor(name="anna", user_id="01890a5d-ac96-774b-bcce-b302099a8057", channel="page", address="192.0.2.7")
LETTER = LetterId.parse("conversations.v1.b2.MESSAGING.17")


@pytest.mark.parametrize("discarded", [True, False])
async def test_a_discard_is_final_though_those_behind_it_cannot_be_retried(
    monkeypatch: pytest.MonkeyPatch, discarded: bool
) -> None:
    @asynccontextmanager
    async def connection(*_: object) -> AsyncIterator[Mock]:
        yield Mock()

    monkeypatch.setattr(DeadLetters, "_connection_for", connection)
    monkeypatch.setattr(resolution, "retryable_letter", AsyncMock())
    monkeypatch.setattr(resolution, "discard", AsyncMock(side_effect=None if discarded else Unavailable))
    monkeypatch.setattr(actions, "retry_behind", AsyncMock(side_effect=Unavailable))
    act = Act("01890a5d-ac96-774b-bcce-b302099a8057", ANNA, 1)
    with pytest.raises(Unavailable):
        await DeadLetters(Mock(), Mock(), Mock()).discard(LETTER, "a test", act)
    assert act.is_final is discarded
