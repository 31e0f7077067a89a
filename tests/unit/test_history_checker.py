"""The checker finds every contradiction between acknowledged and stored events."""

import contextlib

import pytest

from contracts.envelope import encode
from contracts.errors import DeadlineExceeded, Unavailable
from contracts.subjects import MESSAGING
from streams.log import Append, Conflict
from streams.message import Message
from tests.history_checker import History
from tests.integration.streams.conftest import append_to

FIRST, SECOND, OTHER = append_to("a"), append_to("a", expected=1, version=2), append_to("b")


def at(sequence: int, append: Append) -> Message:
    return Message(MESSAGING, sequence, append.subject, encode(append.envelope))


async def record(history: History, outcome: list[int] | Exception, *appends: Append) -> None:
    async def answer() -> list[int]:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with contextlib.suppress(Conflict, DeadlineExceeded, Unavailable):
        assert await history.record(appends, answer) == outcome


@pytest.fixture
def history() -> History:
    return History()


async def test_true_outcomes_are_no_violation(history: History) -> None:
    await record(history, [1], FIRST)
    await record(history, [2, 3], SECOND, OTHER)
    await record(history, Conflict("a", 0), append_to("a"))
    await record(history, DeadlineExceeded(), append_to("c"))
    assert history.violations([at(1, FIRST), at(2, SECOND), at(3, OTHER), at(4, append_to("strange"))]) == []
    assert history.acknowledged == 3


async def test_an_acknowledged_event_that_is_lost_is_found(history: History) -> None:
    await record(history, [1], FIRST)
    await record(history, [2], SECOND)
    assert history.violations([at(1, FIRST)]) == [f"{SECOND.envelope.id} was acknowledged at 2 and is lost"]


async def test_an_event_that_is_stored_twice_is_found(history: History) -> None:
    await record(history, [1], FIRST)
    twice, version = history.violations([at(1, FIRST), at(2, FIRST)])
    assert twice == f"{FIRST.envelope.id} stands twice: at 1 and 2"
    assert version == "a: version 1 stands where 2 belongs"


async def test_an_event_at_another_place_is_found(history: History) -> None:
    await record(history, [7], FIRST)
    assert history.violations([at(1, FIRST)]) == [f"{FIRST.envelope.id} was acknowledged at 7 and stands at 1"]


@pytest.mark.parametrize("refusal", [Conflict("a", 0), Unavailable()])
async def test_a_refused_event_that_is_stored_is_found(history: History, refusal: Exception) -> None:
    await record(history, refusal, FIRST)
    assert history.violations([at(1, FIRST)]) == [f"{FIRST.envelope.id} was refused and is stored at 1"]


async def test_an_event_with_an_unknown_outcome_may_be_stored_or_not(history: History) -> None:
    await record(history, DeadlineExceeded(), FIRST)
    assert history.violations([at(1, FIRST)]) == history.violations([]) == []


async def test_a_partly_stored_append_is_found_with_any_outcome(history: History) -> None:
    await record(history, DeadlineExceeded(), FIRST, OTHER)
    assert history.violations([at(1, OTHER)]) == ["1 of 2 events of one append are stored"]


async def test_a_gap_in_versions_is_found(history: History) -> None:
    await record(history, [1], SECOND)
    assert history.violations([at(1, SECOND)]) == ["a: version 2 stands where 1 belongs"]


async def test_an_event_that_nobody_appended_is_found(history: History) -> None:
    await record(history, [1], FIRST)
    assert history.violations([at(1, FIRST), at(2, SECOND)]) == [f"{SECOND.envelope.id} was appended by nobody"]


async def test_an_event_before_one_acknowledged_earlier_is_found(history: History) -> None:
    await record(history, [2], FIRST)
    await record(history, [1], SECOND)
    assert any("not behind 2" in violation for violation in history.violations([at(1, SECOND), at(2, FIRST)]))
