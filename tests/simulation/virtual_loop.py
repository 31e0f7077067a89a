"""An event loop with virtual time: it jumps to the next timer when nothing is ready, so hours pass in milliseconds.

Connections go through a simulated network in memory (network.py), so that real client and server libraries run in it.
With the same seed a run is the same, step for step.
"""

import asyncio
import random
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest.mock import patch

from streams import repository

T = TypeVar("T")
_BEGIN = 1_000.0


class Deadlock(Exception):
    """Nothing is ready and no timer is set: the tasks would wait forever."""


class VirtualSelector(selectors.SelectSelector):
    """Waits for nothing: advances the loop's time instead."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock
        self.loop.now += max(timeout, 0.0) + self.loop.stall()
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        selector = VirtualSelector()
        selector.loop = self
        self.now = _BEGIN
        # Seconds that the processor is away before the next turn of the loop.
        self.stall: Callable[[], float] = lambda: 0.0
        # Set by the network: connects a client's protocol to a listening server.
        self.connector: Callable[[Callable[[], asyncio.BaseProtocol], str, int], Coroutine[Any, Any, Any]]
        # What a callback has raised, which no one waits for: the first error.
        self.failure: BaseException | None = None
        # Also set by the network: makes a host listen.
        self.listener: Callable[[str, int, Callable[[], asyncio.BaseProtocol]], None]
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if "handle" in context:
            self.failure = self.failure or context["exception"]
        super().call_exception_handler(context)

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str = "", port: int = 0, **_: object
    ) -> Any:  # noqa: ANN401 - as the loop's own
        return await self.connector(protocol_factory, host, port)

    async def create_server(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str = "", port: int = 0, **_: object
    ) -> Any:  # noqa: ANN401 - as the loop's own
        self.listener(host, port, protocol_factory)
        return Listening()


class Listening:
    """A server that the network lets listen; the network also closes it."""

    def close(self) -> None:
        pass

    async def wait_closed(self) -> None:
        pass


def run(seed: int, main: Callable[[VirtualLoop, random.Random], Coroutine[Any, Any, T]]) -> T:
    """Runs a simulation to its end; every choice in it comes from the seed."""
    loop = VirtualLoop()
    with virtual(loop, seed):
        try:
            return loop.run_until_complete(main(loop, random.Random(seed)))
        finally:
            close(loop)


@contextmanager
def virtual(loop: VirtualLoop, seed: int) -> Iterator[None]:
    """Clocks show the loop's time, and the libraries' own random choices repeat with the seed."""
    state = random.getstate()
    random.seed(seed)
    try:
        with (
            patch.object(time, "monotonic", loop.time),
            patch.object(time, "perf_counter", loop.time),
            patch.object(time, "time_ns", lambda: int(loop.now * 1_000_000_000)),
            patch.object(repository, "_clock", loop.time),
        ):
            yield
    finally:
        random.setstate(state)


def close(loop: VirtualLoop) -> None:
    """Cancels what still runs, and closes the loop.

    Raises:
        BaseException: what a callback has raised meanwhile, or before.
    """
    while tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()
    if loop.failure is not None:
        raise loop.failure
