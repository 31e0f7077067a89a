"""Dead letters on the page: the list, whatever cannot be read, and a discard, final once it is stored."""

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
from services.operator.dead_letters.parked_events import ReactionLetters
from streams.reactions.parked import ParkedId

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


async def test_a_discard_names_the_operators_account_and_not_the_username(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def connection(*_: object) -> AsyncIterator[Mock]:
        yield Mock()

    discard, discard_parked = AsyncMock(), AsyncMock()
    monkeypatch.setattr(DeadLetters, "_connection_for", connection)
    monkeypatch.setattr(resolution, "retryable_letter", AsyncMock())
    monkeypatch.setattr(resolution, "discard", discard)
    monkeypatch.setattr(actions, "retry_behind", AsyncMock())
    monkeypatch.setattr(ReactionLetters, "retryable", AsyncMock())
    monkeypatch.setattr(ReactionLetters, "discard", discard_parked)
    letters, act = DeadLetters(Mock(), Mock(), Mock()), Act("01890a5d-ac96-774b-bcce-b302099a8057", ANNA, 1)
    await letters.discard(LETTER, "a test", act)
    await letters.discard(ParkedId.parse("auth-erasures.AUTH.17"), "a test", act)
    for call in (discard.await_args, discard_parked.await_args):
        assert call is not None
        assert call.args[-2:] == ("a test", ANNA.user_id)


def letters_of(kind: str, number: int) -> AsyncMock:
    return AsyncMock(return_value=[f"{kind} {index}" for index in range(number)])


async def test_projections_and_reactions_share_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    for projections, reactions, shown, more in [
        (3, 2, (3, 2), False),
        (100, 100, (5, 5), True),
        (2, 100, (2, 8), True),
        (11, 0, (10, 0), True),
        (10, 0, (10, 0), False),
    ]:
        monkeypatch.setattr(DeadLetters, "_of_projections", letters_of("projection", projections))
        monkeypatch.setattr(DeadLetters, "_of_reactions", letters_of("reaction", reactions))
        page = await DeadLetters(Mock(), Mock(), Mock()).list(discarded=False, limit=10)
        kinds = [str(letter).split()[0] for letter in page.items]
        assert (kinds.count("projection"), kinds.count("reaction")) == shown
        assert (page.more, page.missing) == (more, "")


@pytest.mark.parametrize("unreadable", ["_of_projections", "_of_reactions"])
async def test_readable_letters_are_listed_with_the_reason_why_the_rest_is_missing(
    monkeypatch: pytest.MonkeyPatch, unreadable: str
) -> None:
    monkeypatch.setattr(DeadLetters, "_of_projections", letters_of("projection", 1))
    monkeypatch.setattr(DeadLetters, "_of_reactions", letters_of("reaction", 1))
    monkeypatch.setattr(DeadLetters, unreadable, AsyncMock(side_effect=Unavailable("no answer")))
    letters = DeadLetters(Mock(), Mock(), Mock())
    page = await letters.list(discarded=False, limit=10)
    assert (len(page.items), page.more, page.missing) == (1, False, "no answer")
    for part in ("_of_projections", "_of_reactions"):
        monkeypatch.setattr(DeadLetters, part, AsyncMock(side_effect=Unavailable("no answer")))
    with pytest.raises(Unavailable):
        await letters.list(discarded=False, limit=10)
