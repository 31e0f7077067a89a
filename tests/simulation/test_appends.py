"""The answer to an append agrees with what is stored, whatever happens to the connection, the server and the caller."""

from collections.abc import Sequence

import pytest

from streams.appending import appender
from streams.appending.append import Append
from streams.appending.appender import Appender
from streams.appending.outcomes import Outcomes
from streams.appending.sender import Sender
from streams.batching.group_commit import Attempt, GroupCommit
from streams.jetstream.requests import NoAnswer
from tests.simulation.mutations import Mutation, caught, replaced
from tests.simulation.world import machine, play
from tests.simulation.worlds.appends import Appends

_RUNS = 25

TestAppends = machine(Appends, examples=8).TestCase


def test_answers_are_true_under_faults() -> None:
    for seed in range(1_000, 1_000 + _RUNS):
        play(Appends, seed)


_send_batch = Appender._try_together


async def _certain(self: Appender, appends: list[Sequence[Append]]) -> list[Attempt]:
    return [Attempt(attempt.sequence) for attempt in await _send_batch(self, appends)]


async def _unknown(*_: object) -> None:
    return None


def _unconditional(_: Sender, append: Append, *, conditional: bool = True) -> dict[str, str]:
    return {"Nats-Msg-Id": append.envelope.id}


_MUTATIONS: dict[str, Mutation] = {
    "no answer counts as not stored": replaced(NoAnswer, "uncertain", False),
    "a conflict is not looked up": replaced(appender, "needs_lookup", lambda _: False),
    "an outcome is not looked up": replaced(Outcomes, "resolve_by", _unknown),
    "a batch without an answer counts as not stored": replaced(Appender, "_try_together", _certain),
    "a batch has a subject twice": replaced(GroupCommit, "_group", lambda self: list(self._waiting)),
    "appends have no condition": replaced(Sender, "headers", _unconditional),
    "waiting for a place has no end": replaced(GroupCommit, "_expire", lambda _: None),
    "a place is not given back": replaced(GroupCommit, "release", lambda *_: None),
}
# Seeds known to notice what few runs do.
_NOTICED_BY = {"a batch without an answer counts as not stored": 8, "a batch has a subject twice": 32}


@pytest.mark.parametrize("name", _MUTATIONS)
def test_a_fault_in_the_code_is_noticed(name: str) -> None:
    caught(Appends, _MUTATIONS[name], within=200, begin=_NOTICED_BY.get(name, 0))
