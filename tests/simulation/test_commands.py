"""A command's answer was true at some moment of its call, and a command takes effect once at most."""

import pytest

from streams.repository import AggregateSession, Repository
from tests.simulation.mutations import Mutation, caught, replaced
from tests.simulation.world import machine, play
from tests.simulation.worlds.commands import Commands

_RUNS = 25

TestCommands = machine(Commands, examples=8).TestCase


def test_answers_are_true_under_faults() -> None:
    for seed in range(1_000, 1_000 + _RUNS):
        play(Commands, seed)


async def _at_once(_: AggregateSession[object]) -> bool:
    return True


_load = Repository.load


async def _from_cache(self: Repository[object], aggregate_id: str) -> object:
    return self.cached(aggregate_id) or await _load(self, aggregate_id)


_MUTATIONS: dict[str, Mutation] = {
    "a refusal counts on the cached state": replaced(AggregateSession, "confirm", _at_once),
    "a conflict is decided again on the cached state": replaced(Repository, "load", _from_cache),
}


@pytest.mark.parametrize("name", _MUTATIONS)
def test_a_fault_in_the_code_is_noticed(name: str) -> None:
    caught(Commands, _MUTATIONS[name], within=200)
