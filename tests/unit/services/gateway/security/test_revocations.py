"""When a gateway may rely on its knowledge of ended sessions."""

import asyncio
import time
from typing import Any, cast

import pytest

from services.gateway.security.revocations import ClockWentBack, Revocations
from services.gateway.security.steady_time import SteadyTime
from streams.quorum import Quorum


class Evidence:
    """Evidence of an age that the test sets."""

    age = 0.0

    def seen_within(self, seconds: float) -> bool:
        return self.age <= seconds


@pytest.mark.parametrize(("age", "alive"), [(4.0, True), (6.0, False)])
def test_a_gateway_whose_node_may_be_cut_off_for_as_long_as_the_silence_relies_on_nothing(
    age: float, alive: bool
) -> None:
    """The followed stream reports nothing new, as it would on a node that is cut off."""
    evidence = Evidence()
    evidence.age = age
    revocations = Revocations(
        cast(Any, None), access_token_seconds=900, name="test", silence=5.0, quorum=cast(Quorum, evidence)
    )
    revocations._follower._at_end = time.monotonic() + 3_600
    assert revocations.alive is alive


def test_one_node_alone_needs_no_evidence() -> None:
    revocations = Revocations(cast(Any, None), access_token_seconds=900, name="test", silence=5.0)
    revocations._follower._at_end = time.monotonic() + 3_600
    assert revocations.alive


class Clocks:
    """The clocks of a machine, and what the gateway makes of them."""

    def __init__(self) -> None:
        self.wall = 1_800_000_000.0
        self.monotonic = 0.0
        self.steady = SteadyTime(clock=lambda: self.wall, monotonic=lambda: self.monotonic)
        self.revocations = Revocations(
            cast(Any, None),
            access_token_seconds=900,
            name="test",
            steady_time=self.steady,
            monotonic=lambda: self.monotonic,
        )

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


@pytest.mark.parametrize("jump", [-600.0, 600.0, 3_600.0])
def test_an_ended_session_is_refused_until_its_tokens_have_expired_however_the_clock_jumps(jump: float) -> None:
    clocks = Clocks()
    expires_at = clocks.steady.now() + 900
    clocks.revocations.add("ended", "logout")
    clocks.wall += jump
    clocks.passes(500)
    clocks.revocations.add("another", "logout")
    clocks.wall -= jump
    clocks.passes(399)
    clocks.revocations.add("one more", "logout")
    assert "ended" in clocks.revocations
    clocks.passes(100)
    clocks.revocations.add("and one", "logout")
    assert "ended" not in clocks.revocations
    clocks.wall -= abs(jump)
    assert expires_at < clocks.steady.now()


async def test_a_clock_that_stays_back_for_some_seconds_ends_the_process() -> None:
    clocks = Clocks()
    watching = asyncio.create_task(clocks.revocations.watch_clock(0.0))

    async def run_watcher() -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    await run_watcher()
    clocks.wall -= 600
    await run_watcher()
    clocks.passes(4)
    await run_watcher()
    clocks.wall += 600
    await run_watcher()
    clocks.wall -= 600
    await run_watcher()
    clocks.passes(4)
    await run_watcher()
    assert not watching.done()
    clocks.passes(2)
    await run_watcher()
    assert watching.done()
    with pytest.raises(ClockWentBack, match="600 s"):
        await watching
