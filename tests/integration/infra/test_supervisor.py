"""The supervisor with real servers and small services: start, restart, stop, and cleanup after a crash."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import psycopg
import pytest

from contracts.subjects import DRAFTS
from infra.embedded.nats_server import NatsServer
from infra.runtime import run_file
from infra.runtime.connections import connect_nats
from infra.security.secrets import TOPOLOGY, Secrets
from infra.settings import Settings
from infra.supervisor import readiness_probes
from streams.topology import settings_of_bucket
from tests.integration.infra.processes import all_gone, command_of, descendants, is_alive

PROGRAM = Path(__file__).with_name("small_system.py")
READY = re.compile(r"Vestnik is ready: (http://\S+)")
PATIENCE = 120.0


class System:
    """One `small_system.py up` as a process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self.url = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    async def line_with(self, pattern: str) -> re.Match[str]:
        """Reads the log until a line matches."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while line := await self.process.stdout.readline():
                self.lines.append(line.decode())
                if match := re.search(pattern, line.decode()):
                    return match
        raise AssertionError(f"no {pattern!r} in:\n{''.join(self.lines)}")

    async def ended(self) -> int:
        async with asyncio.timeout(PATIENCE):
            await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def system(data_dir: Path, *, mode: str = "up", port: int = 0, replicas: int = 1) -> AsyncIterator[System]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAM), mode, str(data_dir), str(port), str(replicas)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        process_group=0,
    )
    try:
        yield System(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.02)


async def _execute(url: str, command: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(b"SET ROLE vestnik_auth")  # an operator changes nothing as itself
        await connection.execute(command.encode())


async def test_it_comes_up_and_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    async with system(tmp_path / "data") as up:
        url = (await up.line_with(READY.pattern)).group(1)
        running = run_file.find(tmp_path / "data")
        assert (running.pid, running.gateway_url) == (up.pid, url)
        assert run_file.NAME not in "".join(up.lines)
        assert (tmp_path / "data" / run_file.NAME).stat().st_mode & 0o077 == 0
        children = descendants(up.pid)
        assert len(children) >= 8
        up.process.send_signal(signal.SIGINT)
        assert await up.ended() == 0
        assert not any(is_alive(pid) for pid in children)
    with pytest.raises(run_file.NotRunning):
        run_file.find(tmp_path / "data")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own; skips where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", folder], check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


async def test_a_disk_that_others_fill_is_noticed_by_the_system_itself(disk: Path) -> None:
    async with system(disk / "data") as up:
        await up.line_with(READY.pattern)
        filler = os.open(disk / "filler", os.O_CREAT | os.O_WRONLY)
        os.posix_fallocate(filler, 0, shutil.disk_usage(disk).free - 1024 * 1024)
        os.close(filler)
        await up.line_with("nats.*out of space")
        (disk / "filler").unlink()
        await up.line_with("nats.*writes are accepted")
        up.process.send_signal(signal.SIGINT)
        assert await up.ended() == 0


async def test_sigkill_of_the_supervisor_leaves_no_process_and_loses_nothing(tmp_path: Path) -> None:
    async with system(tmp_path / "data") as up:
        await up.line_with(READY.pattern)
        await _execute(run_file.find(tmp_path / "data").database_url, "CREATE TABLE vestnik_auth.kept AS SELECT 1 AS n")
        children = descendants(up.pid)
        up.process.kill()
        await up.ended()
        with pytest.raises(run_file.NotRunning):
            run_file.find(tmp_path / "data")
        await all_gone(children, within=PATIENCE)
    async with system(tmp_path / "data") as again:
        await again.line_with(READY.pattern)
        await _execute(run_file.find(tmp_path / "data").database_url, "SELECT n FROM vestnik_auth.kept")


async def test_sigkill_of_everything_at_once_is_survived_also_without_a_bucket(tmp_path: Path) -> None:
    async with system(tmp_path / "data") as up:
        await up.line_with(READY.pattern)
        everyone = descendants(up.pid)
        await _execute(run_file.find(tmp_path / "data").database_url, "CREATE TABLE vestnik_auth.kept AS SELECT 1 AS n")
        up.process.kill()
        for pid in everyone:
            _kill(pid)
        await up.ended()
    await _break_bucket(tmp_path / "data")
    async with system(tmp_path / "data") as again:
        await again.line_with("the bucket drafts cannot be prepared")
        await again.line_with(READY.pattern)
        await _execute(run_file.find(tmp_path / "data").database_url, "SELECT n FROM vestnik_auth.kept")


async def _break_bucket(data_dir: Path) -> None:
    """Gives the stream of a bucket a setting that must not be changed automatically."""
    passwords = Secrets.load(Settings(data_dir=data_dir).secrets_path).nats_passwords()
    server = NatsServer(data_dir / "nats", passwords=passwords)
    await server.start()
    try:
        connection = await connect_nats(Settings(nats_url=server.url_of(TOPOLOGY)), TOPOLOGY)
        config = settings_of_bucket(DRAFTS, replicas=1) | {"max_msgs_per_subject": 5}
        await connection.request(f"$JS.API.STREAM.UPDATE.{config['name']}", json.dumps(config).encode(), timeout=60)
        await connection.close()
    finally:
        await server.stop()


async def test_commands_find_the_system_while_a_service_is_not_ready(tmp_path: Path) -> None:
    async with system(tmp_path / "data") as up:
        async with asyncio.timeout(PATIENCE):
            while not any(command_of(pid)[-2:] == ["serve", "contact"] for pid in descendants(up.pid)):
                await asyncio.sleep(0.01)
        contact = _pid_of(up.pid, "contact")
        os.kill(contact, signal.SIGSTOP)
        try:
            async with asyncio.timeout(PATIENCE):
                while not (tmp_path / "data" / run_file.NAME).exists():
                    await asyncio.sleep(0.01)
            assert run_file.find(tmp_path / "data").pid == up.pid
        finally:
            os.kill(contact, signal.SIGCONT)
        await up.line_with(READY.pattern)


@pytest.mark.parametrize("victim", ["auth", "gateway", "nats", "postgres"])
async def test_a_killed_child_comes_back_at_its_address(tmp_path: Path, victim: str) -> None:
    async with system(tmp_path / "data") as up:
        url = (await up.line_with(READY.pattern)).group(1)
        running = run_file.find(tmp_path / "data")
        _kill(_pid_of(up.pid, victim))
        await up.line_with(rf"{victim} +\| was ended by SIGKILL; restarting")
        host, port = running.addresses["auth"][0].split(":")
        await _until(readiness_probes.grpc_health(host, int(port)))
        await _until(readiness_probes.http_ok("127.0.0.1", int(url.rsplit(":", 1)[1]), "/readyz"))
        await _until(lambda: _answers(running.database_url))


async def test_no_connection_is_refused_while_the_gateway_restarts(tmp_path: Path) -> None:
    async with system(tmp_path / "data") as up:
        url = (await up.line_with(READY.pattern)).group(1)
        _kill(_pid_of(up.pid, "gateway"))
        with closing(socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=PATIENCE)):
            await up.line_with("gateway .* restarting")


async def test_every_replica_has_an_address_of_its_own(tmp_path: Path) -> None:
    async with system(tmp_path / "data", replicas=2) as up:
        await up.line_with(READY.pattern)
        addresses = [address for all_of in run_file.find(tmp_path / "data").addresses.values() for address in all_of]
        # Of each service two, of the operator's one.
        assert len(set(addresses)) == 14


async def test_a_data_directory_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    async with system(tmp_path / "data") as up:
        await up.line_with(READY.pattern)
        async with system(tmp_path / "data") as second:
            await second.line_with("DataDirUnusable: the data directory .* is in use by another `vestnik up`")
            assert await second.ended() == 1


async def test_a_port_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        async with system(tmp_path / "data", port=port) as up:
            await up.line_with(f"PortUnusable: port {port} is in use; choose another")
            assert await up.ended() == 1


async def test_a_service_that_cannot_start_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    async with system(tmp_path / "data", mode="up-broken") as up:
        await up.line_with(r"contact +\| contact cannot")
        children = descendants(up.pid)
        await up.line_with("NeverReady: contact does not start")
        assert await up.ended() == 1
        assert not any(is_alive(pid) for pid in children)


async def _answers(database_url: str) -> bool:
    try:
        await _execute(database_url, "SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _pid_of(supervisor: int, name: str) -> int:
    marks = {"nats": "nats-server", "postgres": "bin/postgres"}
    for pid in descendants(supervisor):
        arguments = command_of(pid)
        if arguments[-2:] == ["serve", name] or (arguments and arguments[0].endswith(marks.get(name, "\0"))):
            return pid
    raise AssertionError(f"no process {name}")
