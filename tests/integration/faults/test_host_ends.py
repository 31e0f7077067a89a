"""A host knows which ends of its program it has caused."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.integration.faults.own_namespaces import in_own_namespaces
from tests.rehearsal.host import End, Host, Program

_SLEEP = "import time; print('ready', flush=True); time.sleep(3600)"


def test_a_crash_right_after_the_start_ends_a_program_that_is_on_its_way_to_the_host(tmp_path: Path) -> None:
    command = (sys.executable, "-I", "-S", "-c", _SLEEP)
    host = Host("one", Program(command=command, environment={}, restart="always"), tmp_path, tmp_path / "resolv.conf")

    async def act() -> None:
        (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        await host.open()
        try:
            await host.start()
            await host.crash()
            async with asyncio.timeout(60):
                while not host.ends:
                    await asyncio.sleep(0.05)
            assert host.ends == [End(-signal.SIGKILL, by_itself=False)]
        finally:
            await host.close()

    in_own_namespaces(act)


def test_an_end_that_the_host_did_not_cause_is_known_from_a_crash_and_a_stop(tmp_path: Path) -> None:
    command = (sys.executable, "-I", "-S", "-c", _SLEEP)
    host = Host("one", Program(command=command, environment={}, restart="always"), tmp_path, tmp_path / "resolv.conf")

    async def ready(times: int) -> None:
        async with asyncio.timeout(60):
            while host.log_file.read_text().splitlines().count("ready") < times:
                await asyncio.sleep(0.05)

    async def act() -> None:
        (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        await host.open()
        try:
            await host.start()
            await ready(1)
            await host.crash()
            await ready(2)
            os.kill(host.pid, signal.SIGKILL)
            await ready(3)
            await host.stop()
        finally:
            await host.close()
        killed = -signal.SIGKILL
        # Without a handler, a stop ends it with an error.
        assert host.ends == [
            End(killed, by_itself=False),
            End(killed, by_itself=True),
            End(-signal.SIGTERM, by_itself=True),
        ]

    in_own_namespaces(act)
