"""A process of a service that hangs is ended, whatever it hangs in, and says where; no other is."""

import asyncio
import os
import signal
import sys

import pytest

from infra.supervisor import service_program
from infra.supervisor.service_program import ServiceProgram
from tests.integration.infra.small_system import started_with

WITHIN = 60.0
LIMIT = 2.0
# As `vestnik serve`, with a service that hangs when it gets SIGUSR1.
SCRIPT = """
import asyncio, faulthandler, os, signal, time
from infra.supervisor.heartbeat import heartbeat

def hang_in_sleep():
    time.sleep(1_000)

def hang_in_loop():
    while True:
        pass

async def main():
    stop = asyncio.Event()
    async with heartbeat(int(os.environ["VESTNIK_HEARTBEAT_FD"])):
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, HANG)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        print("ready", flush=True)
        await stop.wait()
    # Ending may take longer than a process may hang.
    time.sleep(SECONDS)

faulthandler.enable()
asyncio.run(main())
"""


class Watched:
    def __init__(self, hang: str = "hang_in_sleep", ending: float = 0.0) -> None:
        self.lines: list[str] = []
        self.reasons: list[str] = []
        script = SCRIPT.replace("HANG)", f"{hang})").replace("SECONDS", str(ending))
        self.program = ServiceProgram(
            started_with(lambda _: [sys.executable, "-c", script]),
            "messaging",
            {},
            self.lines.append,
            drain_seconds=WITHIN,
            hang_seconds=LIMIT,
            on_hang=self.reasons.append,
        )

    async def start(self) -> "asyncio.Task[int]":
        await self.program.start()
        ending = asyncio.create_task(self.program.wait())
        async with asyncio.timeout(WITHIN):
            while "ready" not in self.lines:
                await asyncio.sleep(0.01)
        return ending


@pytest.mark.parametrize(
    ("hang", "state"), [("hang_in_sleep", "main thread is blocked"), ("hang_in_loop", "main thread is running")]
)
async def test_a_process_whose_event_loop_is_blocked_ends_and_writes_where(hang: str, state: str) -> None:
    watched = Watched(hang)
    ending = await watched.start()
    os.kill(watched.program.pid, signal.SIGUSR1)
    assert await asyncio.wait_for(ending, WITHIN) == -signal.SIGABRT
    [reason] = watched.reasons
    assert "its event loop has not turned for 2." in reason
    assert state in reason
    assert any(f"in {hang}" in line for line in watched.lines)


async def test_a_stopped_process_ends_and_is_started_again() -> None:
    watched = Watched()
    ending = await watched.start()
    os.kill(watched.program.pid, signal.SIGSTOP)
    assert await asyncio.wait_for(ending, WITHIN) == -signal.SIGKILL
    assert "stopped by a signal" in watched.reasons[0]
    watched.lines.clear()
    ending = await watched.start()
    await watched.program.stop()
    assert await ending == 0
    assert len(watched.reasons) == 1


async def test_a_process_that_takes_long_to_end_is_not_ended() -> None:
    watched = Watched(ending=LIMIT * 2)
    ending = await watched.start()
    await watched.program.stop()
    assert await ending == 0
    assert not watched.reasons


async def test_an_error_that_ends_the_watch_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> str:
        raise ValueError("odd")

    monkeypatch.setattr(service_program, "wait_until_hung", fail)
    watched = Watched()
    ending = await watched.start()
    await watched.program.stop()
    assert await ending == 0
    assert watched.reasons == ["the watch for a hang failed: ValueError('odd')"]
