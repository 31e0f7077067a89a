"""A supervised program that cannot be restarted immediately."""

import asyncio
import errno
import io

import pytest

from infra.supervisor.log_console import Console
from infra.supervisor.restart_backoff import Backoff
from infra.supervisor.supervised_process import Supervised, describe_end

WITHIN = 60.0


class Program:
    """Starts or fails as the list says, and runs until `end` is called."""

    pid = 1

    def __init__(self, starts: list[Exception | None]) -> None:
        self._starts = starts
        self.running = asyncio.Event()
        self._ended = asyncio.Event()

    async def start(self) -> None:
        if (error := self._starts.pop(0)) is not None:
            raise error
        self._ended.clear()
        self.running.set()

    async def wait(self) -> int:
        await self._ended.wait()
        return 1

    def end(self) -> None:
        self.running.clear()
        self._ended.set()

    async def stop(self) -> None:
        self.end()

    def kill(self) -> None:
        self.end()


async def ready() -> bool:
    return True


async def test_a_lack_of_resources_at_a_restart_ends_no_supervision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "after", lambda *_: 0.0)
    program, output = Program([None, OSError(errno.ENOSPC, "No space left on device"), None]), io.StringIO()
    process = Supervised("nats", program, ready, Console(output))
    process.start()
    async with asyncio.timeout(WITHIN):
        await process.became_ready()
        program.end()
        await program.running.wait()
        await process.stop()
    assert "No space left on device; restarting" in output.getvalue()


async def test_a_lack_of_resources_at_the_first_start_ends_the_supervision() -> None:
    process = Supervised("nats", Program([OSError(errno.EMFILE, "Too many open files")]), ready, Console(io.StringIO()))
    process.start()
    async with asyncio.timeout(WITHIN):
        with pytest.raises(OSError, match="Too many open files"):
            await process.became_ready()


@pytest.mark.parametrize(("code", "end"), [(3, "with exit code 3"), (-9, "by SIGKILL"), (-40, "by signal 40")])
def test_every_end_has_a_description(code: int, end: str) -> None:
    assert describe_end(code).endswith(end)
