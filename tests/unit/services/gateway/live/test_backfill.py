"""Missed events are requested up to an end of CONTACT that is certain."""

from typing import Any, cast

import pytest

from contracts.errors import NoQuorum
from contracts.subjects import MESSAGING
from services.gateway.live.backfill import Backfill


async def last_sequence(stream: str) -> int:
    return 5


async def test_a_closed_conversation_is_not_shown_on_the_word_of_a_node_that_may_be_cut_off() -> None:
    def refuses() -> None:
        raise NoQuorum(retry_after=5)

    history = Backfill(cast(Any, None), last_sequence, confirm=refuses)
    with pytest.raises(NoQuorum):
        await history.page(MESSAGING, "anna", (), 1, 2, 1_000)
