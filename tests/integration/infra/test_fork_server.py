"""The process that services are forked from: what it starts behaves as a program of its own, and ends with it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from infra.embedded.child_process import Child
from infra.operator_errors import OperatorError
from infra.supervisor.forking.fork_server import ForkServer
from tests.integration.infra.processes import all_gone, command_of, is_alive

WITHIN = 60.0


@pytest.fixture
async def server() -> AsyncIterator[ForkServer]:
    forks = ForkServer(print)
    await forks.start()
    ending = asyncio.create_task(forks.wait())
    yield forks
    await forks.stop()
    await asyncio.wait_for(ending, WITHIN)


class Waiting:
    """A process of the session service that has started and waits for a server that does not answer."""

    def __init__(
        self, child: Child, listener: asyncio.Server, writers: list[asyncio.StreamWriter], heartbeats: int
    ) -> None:
        self.child = child
        self._listener = listener
        self._writers = writers
        self._heartbeats = heartbeats

    @classmethod
    async def start(cls, forks: ForkServer, folder: Path) -> "Waiting":
        connected = asyncio.Event()
        writers: list[asyncio.StreamWriter] = []

        async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            connected.set()

        listener = await asyncio.start_server(accept, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        reading_end, writing_end = os.pipe()
        environment = {
            "VESTNIK_NATS_URL": f"nats://127.0.0.1:{port}",
            "VESTNIK_DATABASE_URL": "postgresql://127.0.0.1:1/none",
            "VESTNIK_DATA_DIR": str(folder),
        }
        child = await forks.start_process("session", environment, {"VESTNIK_HEARTBEAT_FD": writing_end}, print)
        os.close(writing_end)
        async with asyncio.timeout(WITHIN):
            await connected.wait()
        return cls(child, listener, writers, reading_end)

    async def end(self) -> int:
        """Its exit code, once it has ended."""
        code = await asyncio.wait_for(self.child.wait(), WITHIN)
        # It had the only other end, which the fork server has not kept.
        while os.read(self._heartbeats, 4096):
            pass
        os.close(self._heartbeats)
        self._listener.close()
        for writer in self._writers:
            writer.close()
        return code


async def test_a_process_has_its_own_environment_and_title_and_says_why_it_ends(server: ForkServer) -> None:
    lines: list[str] = []
    wrong = await server.start_process("session", {"VESTNIK_STREAM_REPLICAS": "many"}, {}, lines.append)
    assert await asyncio.wait_for(wrong.wait(), WITHIN) == 1
    assert any("VESTNIK_STREAM_REPLICAS" in line for line in lines)


async def test_a_signal_ends_one_process_of_several_and_leaves_no_zombie(server: ForkServer, tmp_path: Path) -> None:
    first, second = await Waiting.start(server, tmp_path), await Waiting.start(server, tmp_path)
    assert command_of(first.child.pid) == ["vestnik", "serve", "session"]
    assert len({os.getpgid(pid) for pid in (server.pid, first.child.pid, second.child.pid)}) == 3
    first.child.kill()
    assert await first.end() == -signal.SIGKILL
    # As soon as its end is known nothing is sent to that pid any more, which another process may get.
    first.child.kill()
    async with asyncio.timeout(WITHIN):
        while Path(f"/proc/{first.child.pid}").exists():
            await asyncio.sleep(0.01)
    assert is_alive(second.child.pid)
    second.child.kill()
    assert await second.end() == -signal.SIGKILL


async def test_processes_end_with_the_fork_server_and_others_start_with_the_next_one(tmp_path: Path) -> None:
    forks = ForkServer(print)
    await forks.start()
    ending = asyncio.create_task(forks.wait())
    orphan = await Waiting.start(forks, tmp_path)
    os.kill(forks.pid, signal.SIGKILL)
    assert await asyncio.wait_for(ending, WITHIN) == -signal.SIGKILL
    assert await orphan.end() == -signal.SIGKILL
    await all_gone({orphan.child.pid}, within=WITHIN)
    # A service that is restarted meanwhile waits for the next fork server.
    starting = asyncio.create_task(Waiting.start(forks, tmp_path))
    await asyncio.sleep(0)
    await forks.start()
    ending = asyncio.create_task(forks.wait())
    other = await asyncio.wait_for(starting, WITHIN)
    assert is_alive(other.child.pid)
    await forks.stop()
    assert await asyncio.wait_for(ending, WITHIN) == 0
    assert await other.end() == -signal.SIGKILL


async def test_a_process_whose_start_was_cancelled_is_ended(server: ForkServer, tmp_path: Path) -> None:
    cancelled = asyncio.create_task(server.start_process("session", {"VESTNIK_DATA_DIR": str(tmp_path)}, {}, print))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    # The answer to the next request is its own.
    other = await Waiting.start(server, tmp_path)
    assert command_of(other.child.pid)[-2:] == ["serve", "session"]
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    async with asyncio.timeout(WITHIN):
        while children.read_text().split() != [str(other.child.pid)]:
            await asyncio.sleep(0.01)
    other.child.kill()
    await other.end()


async def test_a_fork_server_that_does_not_answer_is_an_error(
    server: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.supervisor.forking.fork_server._START_WITHIN", 0.2)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(OperatorError, match="session could not be forked: no answer"):
            await server.start_process("session", {}, {}, print)
    finally:
        os.kill(server.pid, signal.SIGCONT)
