"""What all simulations have in common: weighted actions that a seed or Hypothesis chooses, and a check at the end."""

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.simulation import virtual_loop
from tests.simulation.virtual_loop import VirtualLoop

Weighted = tuple[float, Callable[[Any], None]]
_PAUSES = (0.0, 0.001, 0.005, 0.05, 0.5, 3.0)


class World:
    """A simulation; each action is one step of a run."""

    ACTIONS: ClassVar[tuple[Weighted, ...]]

    def __init__(self, loop: VirtualLoop, rng: random.Random) -> None:
        self._loop = loop
        self._rng = rng
        # The time and the next random number after the check: equal for two runs that have taken the same steps.
        self.fingerprint = (0.0, 0.0)

    def patched(self) -> AbstractContextManager[object]:
        """Puts simulated parts in the place of real ones while the world runs."""
        return nullcontext()

    async def start(self) -> None:
        raise NotImplementedError

    async def check(self) -> None:
        """Ends the faults, waits for running work, and checks the invariants."""
        raise NotImplementedError

    def close(self) -> None:
        """Closes resources that would warn about not being closed; the loop still runs."""

    def _outage(self) -> float:
        """Seconds: mostly shorter than the patience of a call, now and then longer."""
        return self._rng.random() * self._rng.choice((0.1, 4.0, 4.0, 15.0))


class Failed(AssertionError):
    def __init__(self, world: type[World], seed: int, error: BaseException) -> None:
        super().__init__(
            f"{world.__name__}, seed {seed}: {error!r} (again with `./just simulate --seed {seed} --runs 1`)"
        )


def play(world_type: type[World], seed: int) -> World:
    """One run: some actions with pauses between them, then the check.

    Raises:
        Failed: an invariant is violated; with the seed.
    """

    async def main(loop: VirtualLoop, rng: random.Random) -> World:
        world = world_type(loop, rng)
        with world.patched():
            try:
                await world.start()
                weights, actions = zip(*world_type.ACTIONS, strict=True)
                for _ in range(rng.randint(10, 40)):
                    rng.choices(actions, weights)[0](world)
                    await asyncio.sleep(rng.choice(_PAUSES))
                await world.check()
                world.fingerprint = loop.now, rng.random()
            finally:
                world.close()
        return world

    try:
        return virtual_loop.run(seed, main)
    except Exception as error:
        raise Failed(world_type, seed, error) from error


def machine(world_type: type[World], examples: int, *, shrink: bool = False) -> type[RuleBasedStateMachine]:
    """A state machine of Hypothesis with the world's actions as rules.

    `shrink`: a run that fails is shortened, which may take minutes.
    """

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self._loop = VirtualLoop()
            self._world: World | None = None

        @initialize(seed=st.integers(0, 2**32))
        def start(self, seed: int) -> None:
            self._patches = ExitStack()
            self._patches.enter_context(virtual_loop.virtual(self._loop, seed))
            self._world = world_type(self._loop, random.Random(seed))
            self._patches.enter_context(self._world.patched())
            self._loop.run_until_complete(self._world.start())

        @rule(action=st.sampled_from([action for _, action in world_type.ACTIONS]), pause=st.sampled_from(_PAUSES))
        def act(self, action: Callable[[World], None], pause: float) -> None:
            assert self._world is not None
            self._loop.call_soon(action, self._world)
            self._loop.run_until_complete(asyncio.sleep(pause))

        def teardown(self) -> None:
            if self._world is None:
                return
            try:
                self._loop.run_until_complete(self._world.check())
            finally:
                self._loop.call_soon(self._world.close)
                virtual_loop.close(self._loop)
                self._patches.close()

    Machine.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=20,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    Machine.__name__ = Machine.__qualname__ = f"{world_type.__name__}Machine"
    return Machine
