"""Mutes are loaded once for all clients of a user, a few users at a time, and events are newer than what is loaded."""

import asyncio
from collections.abc import Mapping

import pytest

from contracts.errors import Unavailable
from services.gateway.cache.mute_index import MuteIndex


class Messaging:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.running = self.most_running = 0
        self.fails = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def load(self, user_id: str, messaging: int) -> Mapping[str, float]:
        self.asked.append(user_id)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await self.answers.wait()
        self.running -= 1
        if self.fails:
            self.fails -= 1
            raise Unavailable
        return {"ben": 2.0, "cleo": 2.0}


async def test_all_clients_of_a_user_share_one_request_and_events_are_newer_than_its_answer() -> None:
    messaging = Messaging()
    messaging.answers.clear()
    index = MuteIndex(messaging.load)
    clients = [index.acquire("anna", 7) for _ in range(5)]
    await asyncio.sleep(0)
    index.changed("anna", "ben", 0.0)
    index.changed("nobody here", "ben", 1.0)
    messaging.answers.set()
    for client in clients:
        await client.wait_loaded(60.0)
        assert client.muted_until == {"ben": 0.0, "cleo": 2.0}
    assert messaging.asked == ["anna"]
    for _ in clients:
        index.release("anna")
    # The next client of the user may have missed events.
    await index.acquire("anna", 8).wait_loaded(60.0)
    assert messaging.asked == ["anna", "anna"]


async def test_only_a_few_requests_run_at_the_same_time() -> None:
    messaging = Messaging()
    messaging.answers.clear()
    index = MuteIndex(messaging.load, most_loading=3)
    users = [index.acquire(f"user {number}", 7) for number in range(10)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert messaging.running == 3
    messaging.answers.set()
    for user in users:
        await user.wait_loaded(60.0)
    assert (len(messaging.asked), messaging.most_running) == (10, 3)


async def test_failed_requests_are_repeated_with_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    messaging = Messaging()
    messaging.fails = 8
    mutes = MuteIndex(messaging.load).acquire("anna", 7)
    await mutes.wait_loaded(60.0)
    assert len(messaging.asked) == 9
    assert mutes.muted_until
    for pause, least in zip(pauses, (1, 2, 4, 8, 16, 30, 30, 30), strict=True):
        assert least <= pause <= 1.5 * least


async def test_a_client_that_waits_for_mutes_gives_up_and_one_that_has_gone_ends_the_request() -> None:
    messaging = Messaging()
    messaging.answers.clear()
    index = MuteIndex(messaging.load)
    mutes = index.acquire("anna", 7)
    await mutes.wait_loaded(0.0)
    assert mutes.muted_until == {}
    index.release("anna")
    assert mutes.loading is not None
    await asyncio.wait({mutes.loading})
    assert mutes.loading.cancelled()
