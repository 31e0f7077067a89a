"""A rebuild cuts over to the same rows, and a dead letter is applied once and in its place, whatever happens around."""

import pytest

from projections.engine.rebuild.catch_up import CatchUp
from projections.engine.storage import builds, dead_letters
from projections.engine.storage.builds import Build, Connection
from projections.engine.storage.dead_letters import DeadLetterState
from tests.simulation.mutations import Mutation, caught, replaced
from tests.simulation.world import machine, play
from tests.simulation.worlds.rebuilds import Rebuilds

_RUNS = 6

TestRebuilds = machine(Rebuilds, examples=2).TestCase


def test_rebuilt_read_models_are_true_under_faults() -> None:
    for seed in range(3_000, 3_000 + _RUNS):
        play(Rebuilds, seed)


_load_state = dead_letters.load_state


async def _done(*_: object) -> bool:
    return True


async def _nothing(*_: object) -> None:
    return None


async def _unaware(conn: Connection, build: Build) -> DeadLetterState:
    state = await _load_state(conn, build)
    state.blocked.clear()
    return state


_MUTATIONS: dict[str, Mutation] = {
    "a cutover does not wait for the last events": replaced(CatchUp, "_catch_up_to", _done),
    "a retry or a cutover does not lock the build": replaced(builds, "lock_build", _done),
    "a retry does not change what batches assert": replaced(dead_letters, "revise", _nothing),
    "a writer that opens a build does not know of its dead letters": replaced(dead_letters, "load_state", _unaware),
    "a dead letter that was applied stays": replaced(dead_letters, "remove", _nothing),
}
# Seeds known to notice what few runs do.
_NOTICED_BY = {
    "a retry or a cutover does not lock the build": 51,
    "a retry does not change what batches assert": 7,
}


@pytest.mark.parametrize("name", _MUTATIONS)
def test_a_fault_in_the_code_is_noticed(name: str) -> None:
    caught(Rebuilds, _MUTATIONS[name], within=200, begin=_NOTICED_BY.get(name, 0))
