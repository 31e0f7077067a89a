"""Starts the final root as a deployment would: every service as a container of its own, with settings alone."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from contracts.services import GATEWAY, REGISTRY
from infra.devtools.image.build import Image, Say
from infra.devtools.image.commands import Done, finish
from infra.devtools.image.namespaces import Mount, enter_network_namespace, in_namespaces_of, in_root
from infra.embedded.nats_server import NatsServer
from infra.embedded.postgres_server import PostgresServer
from infra.load.history_file import read_history
from infra.load.run import Order, load
from infra.operator_errors import OperatorError
from infra.security.secrets import Secrets

_SECRETS = "/run/vestnik/secrets"
_DATA = "/tmp/vestnik"  # noqa: S108 - in the container, where nothing else is writable
_READY_SECONDS = 300.0
_STOP_SECONDS = 60.0
_HISTORY = (
    "sender\trecipient\tunix_time\ttext\n"
    "anna\tboris\t1764547200\tDoes the image serve?\n"
    "boris\tanna\t1764547260\tIt does.\n"
)


class DoesNotServe(OperatorError):
    """A process of the image did not do what it should."""


class Container:
    """One process of a service in the root, as process 1 of its namespaces."""

    def __init__(self, image: Image, service: str, settings: Mapping[str, str], secrets: Path, log: Path) -> None:
        self.service = service
        self.log = log
        self._user = image.configuration.user
        self._environment = {**image.configuration.environment, **settings}
        command = in_root(
            image.root,
            [*image.configuration.entrypoint, "serve", service],
            mounts=[Mount(secrets, _SECRETS)],
            user=self._user,
            folder=image.configuration.folder,
        )
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - composed above
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Pid of the container's process 1 on this machine; 0: there is none yet."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return int((children.read_text() or "0").split()[0]) if children.exists() else 0

    def execute(self, *command: str) -> Done:
        """Runs a command in the container to its end, as its user and with its environment.

        Raises:
            DoesNotServe: the container's process has ended.
        """
        if not (pid := self.pid):
            raise DoesNotServe(f"{self.service} has ended with {self.exit_code()}:\n{self.last_words()}")
        return finish(in_namespaces_of(pid, command, user=self._user), self._environment, seconds=_READY_SECONDS)

    def terminate(self) -> None:
        """Sends SIGTERM to process 1."""
        os.kill(self.pid, signal.SIGTERM)

    def exit_code(self) -> int | None:
        """The exit code, once the process has ended in time; None: it has not."""
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]


def serve(image: Image, say: Say) -> None:
    """Starts every service from the image with servers beside it, uses them, and stops them.

    This process stays in a network namespace of its own afterwards.

    Raises:
        DoesNotServe: something did not work.
    """
    enter_network_namespace()
    folder = Path(tempfile.mkdtemp(prefix="vestnik-image-"))
    try:
        folder.chmod(0o755)  # the server's user may be another
        asyncio.run(_serve(image, folder, say))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _serve(image: Image, folder: Path, say: Say) -> None:
    nats, postgres = NatsServer(folder / "nats"), PostgresServer(folder / "postgres")
    containers: list[Container] = []
    try:
        settings = {
            "VESTNIK_NATS_URL": await nats.start(),
            "VESTNIK_DATABASE_URL": await postgres.start(),
            "VESTNIK_DATA_DIR": _DATA,
        }
        secrets = _secrets(folder / "secrets", image.configuration.user)
        containers += [Container(image, service, settings, secrets, folder / f"{service}.log") for service in REGISTRY]
        await asyncio.to_thread(_check_running, containers, image, say)
        await _use(containers, folder)
        say("two users registered through the gateway, became friends and wrote to each other")
        await asyncio.to_thread(_check_stop, containers)
        say("every process ended with 0 after SIGTERM")
    finally:
        for container in containers:
            container.kill()
        await postgres.stop()
        await nats.stop()


def _secrets(folder: Path, user: str) -> Path:
    """A folder of secrets that the user may read."""
    Secrets.create(folder)
    uid, gid = map(int, user.split(":"))
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, gid)
    return folder


def _check_running(containers: list[Container], image: Image, say: Say) -> None:
    began = time.monotonic()
    for container in containers:
        _wait_ready(container)
    say(f"every process is ready, as `vestnik probe ready` says in its container ({time.monotonic() - began:.1f} s)")
    for container in containers:
        probed = container.execute(*image.configuration.health_check)
        if probed.returncode != 0:
            raise DoesNotServe(f"the health check of {container.service} fails: {probed.stdout}")
        for path in ("/new", "/opt/vestnik/new", f"{_SECRETS}/new"):
            if container.execute("touch", path).returncode == 0:
                raise DoesNotServe(f"{container.service} can write {path}")
        status = Path(f"/proc/{container.pid}/status").read_text()
        uid = image.configuration.user.partition(":")[0]
        if f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n" not in status or "CapEff:\t0000000000000000\n" not in status:
            raise DoesNotServe(f"{container.service} does not run as user {uid} without capabilities:\n{status}")
    say("every process passes the health check, has no capability, and can write to /tmp alone")


def _wait_ready(container: Container) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not (container.pid and container.execute("vestnik", "probe", "ready").returncode == 0):
        if not container.running or time.monotonic() > deadline:
            raise DoesNotServe(f"{container.service} did not become ready:\n{container.last_words()}")
        time.sleep(0.2)


async def _use(containers: list[Container], folder: Path) -> None:
    """Registers two users, whose mails lie in the data directory of auth, and lets them write to each other."""
    by_service = {container.service: container for container in containers}
    history = folder / "history.tsv"
    history.write_text(_HISTORY)
    order = Order(
        history=read_history(history),
        url=f"http://127.0.0.1:{REGISTRY[GATEWAY].port}",
        state=folder / "journal.jsonl",
        mail_dir=Path(f"/proc/{by_service['auth'].pid}/root{_DATA}/mail"),
        in_flight=1,
    )
    report = await load(order, Console(quiet=True))
    if report.errors or (report.users, report.friendships, report.messages) != (2, 1, 2):
        logs = "\n".join(container.last_words() for container in containers)
        raise DoesNotServe(f"not everything was served: {report}\n{logs}")


def _check_stop(containers: list[Container]) -> None:
    for container in containers:
        container.terminate()
    for container in containers:
        if (code := container.exit_code()) != 0:
            outcome = "has not ended" if code is None else f"ended with {code}"
            raise DoesNotServe(f"{container.service} {outcome} after SIGTERM:\n{container.last_words()}")
