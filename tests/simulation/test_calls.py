"""A call is answered once, with its own answer, or fails by its deadline, whatever happens to the replicas."""

import pytest

from infra.rpc import client
from infra.rpc.multiplex import messages
from infra.rpc.multiplex.deadlines import Deadlines
from infra.rpc.multiplex.send_queue import SendQueue
from infra.rpc.multiplex.silence import SilenceWatch
from infra.rpc.multiplex.stream import CallStream
from tests.simulation.mutations import Mutation, caught, replaced
from tests.simulation.world import machine, play
from tests.simulation.worlds.calls import Calls

_RUNS = 15

TestCalls = machine(Calls, examples=6).TestCase


def test_calls_end_in_permitted_outcomes_under_faults() -> None:
    for seed in range(1_000, 1_000 + _RUNS):
        play(Calls, seed)


_take_back = SendQueue.take_back


def _take_first(self: CallStream, answer: messages.Answer) -> None:
    for number, waiting in self._waiting.items():
        if not waiting.answer.done():
            del self._waiting[number]
            waiting.answer.set_result(answer.response)
            return


def _as_not_sent(self: SendQueue, key: int) -> bool:
    _take_back(self, key)
    return True


_MUTATIONS: dict[str, Mutation] = {
    "an answer goes to the call that waits longest": replaced(CallStream, "_take", _take_first),
    "a call on a lost stream counts as not sent": replaced(SendQueue, "take_back", _as_not_sent),
    "a service's refusal counts as not executed": replaced(client, "was_executed", lambda _: False),
    "deadlines are not looked at": replaced(Deadlines, "_check", lambda _: None),
    "a silent replica is waited for": replaced(SilenceWatch, "_check", lambda _: None),
}


@pytest.mark.parametrize("name", _MUTATIONS)
def test_a_fault_in_the_code_is_noticed(name: str) -> None:
    caught(Calls, _MUTATIONS[name], within=200)
