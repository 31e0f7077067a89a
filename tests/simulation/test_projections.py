"""Each event is applied once and in order, and rows and checkpoints agree, whatever happens around the runners."""

from collections.abc import Sequence

import pytest

from projections.engine.apply.batch import Batch
from projections.engine.apply.merging.row_merging import RowGroup
from projections.engine.apply.writing import batch_transaction
from projections.engine.apply.writing.batch_transaction import BatchTransaction, Move
from projections.engine.apply.writing.statements import Statement, statement
from projections.engine.reading.message_window import Window
from projections.engine.reading.shared_reader import SharedReader
from projections.engine.storage import dead_letters, lost_events
from projections.engine.storage.builds import MOVED
from tests.simulation.mutations import Mutation, caught, replaced
from tests.simulation.world import machine, play
from tests.simulation.worlds.projections import Projections

_RUNS = 15

TestProjections = machine(Projections, examples=6).TestCase


def test_read_models_are_true_under_faults() -> None:
    for seed in range(1_000, 1_000 + _RUNS):
        play(Projections, seed)


def _unconditional(group: RowGroup) -> Statement:
    query, arrays = statement(group)
    guard = f" WHERE current_setting('{MOVED}', true) IS DISTINCT FROM '0'".encode()
    assert guard in query
    return query.replace(guard, b""), arrays


async def _in_two_transactions(
    self: BatchTransaction, batch: Batch, moves: Sequence[Move], groups: Sequence[RowGroup], _: object
) -> None:
    await self._move(moves)
    async with self._conn.transaction():
        for group in groups:
            await self._conn.execute(*statement(group))
        await lost_events.add(self._conn, self._build, batch.gaps)


async def _nothing(*_: object) -> None:
    return None


_MUTATIONS: dict[str, Mutation] = {
    "rows are written although the checkpoint did not move": replaced(batch_transaction, "statement", _unconditional),
    "the checkpoint moves in a transaction of its own": replaced(BatchTransaction, "_write", _in_two_transactions),
    "a checkpoint that did not move counts as moved": replaced(batch_transaction, "_check_moved", lambda _: None),
    "losses are not recorded with the build": replaced(lost_events, "add", _nothing),
    "a pause does not change what batches assert": replaced(dead_letters, "revise", _nothing),
    "a window is believed to hold what it has dropped": replaced(
        Window, "holds", lambda self, position: position <= self.end
    ),
    "a shared reader that failed is waited for": replaced(SharedReader, "_wake", lambda _: None),
}
# Seeds known to notice what few runs do.
_NOTICED_BY = {"a checkpoint that did not move counts as moved": 19}


@pytest.mark.parametrize("name", _MUTATIONS)
def test_a_fault_in_the_code_is_noticed(name: str) -> None:
    caught(Projections, _MUTATIONS[name], within=200, begin=_NOTICED_BY.get(name, 0))
