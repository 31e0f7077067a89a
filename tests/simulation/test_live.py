"""A client receives every event once, over all reconnects and resumes, whatever happens to the gateways."""

import asyncio
from collections.abc import Mapping

import pytest

from services.gateway.live.client_queue import ClientQueue, QueuedEvent
from services.gateway.live.hub import Hub
from services.gateway.live.replay_buffer import ReplayBuffer
from services.gateway.live.subscription import ClientEvent, Subscription
from tests.simulation.mutations import Mutation, caught, replaced
from tests.simulation.world import machine, play
from tests.simulation.worlds.live import Live

_RUNS = 15

TestLive = machine(Live, examples=6).TestCase


def test_every_event_is_received_once_over_reconnects() -> None:
    for seed in range(1_000, 1_000 + _RUNS):
        play(Live, seed)


_attach, _live, _put = Hub.attach, Subscription._live, ClientQueue.put


def _attach_later(self: Hub, queue: ClientQueue) -> None:
    asyncio.get_running_loop().call_later(0.001, _attach, self, queue)


async def _reach_all(self: Subscription) -> list[ClientEvent]:
    self._positions |= {channel: self._hub.position(channel) for channel in self._positions}
    return await _live(self)


async def _reached(_: Hub, positions: Mapping[str, int], seconds: float) -> bool:
    return True


def _put_at_once(self: ClientQueue, event: QueuedEvent) -> None:
    if self.at_once is not None:
        self.at_once(event)
    else:
        _put(self, event)


_MUTATIONS: dict[str, Mutation] = {
    "a buffer is believed to reach back": replaced(Hub, "covers", lambda *_: True),
    "a restarted gateway's buffer seems complete": replaced(ReplayBuffer, "begin", lambda *_: None),
    "a client is attached after its events were taken": replaced(Hub, "attach", _attach_later),
    "a position includes what is still queued": replaced(Subscription, "_live", _reach_all),
    "a position ahead of the gateway is not waited for": replaced(Hub, "until_reached", _reached),
    "an event that a busy client did not take counts as delivered": replaced(ClientQueue, "put", _put_at_once),
}
# Seeds known to notice what few runs do.
_NOTICED_BY = {"a client is attached after its events were taken": 7}


@pytest.mark.parametrize("name", _MUTATIONS)
def test_a_fault_in_the_code_is_noticed(name: str) -> None:
    caught(Live, _MUTATIONS[name], within=200, begin=_NOTICED_BY.get(name, 0))
